"""Files of data sets: IDX, CIFAR-10's records, images, and folders of them."""

from __future__ import annotations

import gzip
import io
import random
import shutil
import struct
import zlib
from functools import cache

import numpy as np

from tests.fuzz.harness import Target, folder, written
from tests.fuzz.mutate import mutate_bytes
from xcnn.data.cifar import RECORD, read_cifar10
from xcnn.data.folder import read_folder
from xcnn.data.idx import read_idx
from xcnn.data.images import decode_image

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
LIMITS = {"formats": FORMATS, "pixels": 100_000, "side": 1000}


def _idx(*shape: int) -> bytes:
    head = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    return head + bytes(i % 251 for i in range(int(np.prod(shape))))


def _idx_seeds() -> list[bytes]:
    return [_idx(2, 3, 4), _idx(5), _idx(0), _idx(2, 2, 3, 3), _idx(3, 28, 28), _idx(7, 1)]


def _call_idx(content: bytes) -> None:
    x = read_idx(written("x-ubyte", content))
    assert x.dtype == np.uint8
    assert x.size <= len(content)


IDX = Target(
    "idx",
    _call_idx,
    _idx_seeds,
    names=str(folder() / "x-ubyte"),
    sample=5_000,
    whole=(1, 200_000),
)


def _call_packed(content: bytes) -> None:
    x = read_idx(written("x-ubyte.gz", content))
    assert x.size < 1100 * len(content)  # deflate packs no better than 1,032 to one


def _mutate_packed(data: bytes, rng: random.Random) -> bytes:
    """Break what is packed as often as the package."""
    if rng.random() < 0.5:
        return mutate_bytes(data, rng)
    try:
        content = zlib.decompressobj(31).decompress(data, 10**6)
    except zlib.error:
        return mutate_bytes(data, rng)
    return gzip.compress(mutate_bytes(content, rng), 1, mtime=0) + rng.choice((b"", b"", b"\0", data))


PACKED_IDX = Target(
    "idx.gz",
    _call_packed,
    lambda: [gzip.compress(content, mtime=0) for content in _idx_seeds()],
    _mutate_packed,
    names=str(folder() / "x-ubyte.gz"),
    sample=3_000,
    whole=(1, 150_000),
)


def _records(*labels: int) -> bytes:
    return b"".join(bytes([label]) + bytes([(37 * label) % 256]) * (RECORD - 1) for label in labels)


def _call_cifar(content: bytes) -> None:
    """Read two files: the first byte says where the first ends."""
    cut = RECORD * (content[0] % 4) if content else 0
    train, test = read_cifar10([("test_batch.bin", content[1 : 1 + cut]), ("data.bin", content[1 + cut :])])
    assert (len(train.y) + len(test.y)) * RECORD == max(0, len(content) - 1)
    assert set(train.y) | set(test.y) <= set(range(10))


def _mutate_cifar(data: bytes, rng: random.Random) -> bytes:
    """Change labels, drop and repeat records; seldom anything else, which would only change the length."""
    if rng.random() < 0.3 or len(data) < RECORD:
        return mutate_bytes(data, rng)
    records = [data[i : i + RECORD] for i in range(1, len(data), RECORD)]
    for _ in range(rng.randrange(1, 4)):
        i = rng.randrange(len(records))
        records[i] = bytes([rng.choice((0, 3, 9, 10, 255))]) + records[i][1:]
    picked = rng.choices(records, k=rng.randrange(0, 6))
    return bytes([rng.randrange(6)]) + b"".join(picked)


CIFAR = Target(
    "cifar",
    _call_cifar,
    lambda: [b"\1" + _records(3, 1, 4), b"\0" + _records(0), b"\2" + _records(9, 9), b"\0"],
    _mutate_cifar,
    names="bin",
    sample=3_000,
    whole=(1, 150_000),
)


def _encoded(kind: str = "PNG", mode: str = "RGB", **options: object) -> bytes:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


@cache
def images() -> list[bytes]:
    """Return small image files of every kind and with everything that readers trip over."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    frames = {"save_all": True, "append_images": [Image.new("RGB", (12, 9), "red")]}
    found = [_encoded(kind, mode) for kind in FORMATS for mode in ("L", "RGB")]
    found += [_encoded("PNG", mode) for mode in ("1", "P", "LA", "RGBA")]
    found += [_encoded("PNG", exif=exif, icc_profile=bytes(200)), _encoded("PNG", "P", transparency=b"\0\7")]
    found += [_encoded("JPEG", exif=exif), _encoded("JPEG", "CMYK"), _encoded("JPEG", progressive=True)]
    found += [_encoded(kind, **frames) for kind in ("PNG", "GIF", "WEBP")]
    found += [_encoded("GIF", "P", transparency=0), _encoded("BMP", "1"), _encoded("BMP", "P")]
    return [*found, _encoded("WEBP", "RGBA", lossless=True), _encoded("WEBP", exif=exif)]


def summed(content: bytes) -> bytes:
    """Return a PNG file with the sums of its chunks as they must be, so that what is broken is read."""
    if not content.startswith(b"\x89PNG"):
        return content
    data, at = bytearray(content), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        stop = at + 8 + length
        if stop + 4 > len(data):
            break
        data[stop : stop + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : stop]))
        at = stop + 4
    return bytes(data)


def _mutate_image(data: bytes, rng: random.Random) -> bytes:
    changed = mutate_bytes(data, rng)
    return summed(changed) if rng.random() < 0.8 else changed


def _call_image(content: bytes) -> None:
    x = decode_image(content, where="a.png", **LIMITS)
    assert x.dtype == np.uint8
    assert x.shape[0] in (1, 3)
    assert x.size <= 3 * LIMITS["pixels"]


IMAGE = Target(
    "image", _call_image, images, _mutate_image, summed, names="a.png", sample=3_000, whole=(2, 100_000)
)


def _call_any(content: bytes) -> None:
    """Decode as `read_images` does: whatever Pillow knows may come."""
    decode_image(content, where="a.tif", grey=True, pixels=100_000)


def _any_images() -> list[bytes]:
    found = [_encoded(kind) for kind in ("TIFF", "PPM", "ICO", "TGA", "PCX", "SGI", "DDS")]
    found += [_encoded("TIFF", mode, compression="tiff_lzw") for mode in ("1", "L", "CMYK")]
    return [*found, *images()[::4]]


ANY_IMAGE = Target(
    "any-image",
    _call_any,
    _any_images,
    _mutate_image,
    summed,
    names="a.tif",
    sample=1_500,
    whole=(1, 100_000),
)


def _call_folder(content: bytes) -> None:
    """Read a folder: the first byte says how it lies, the rest is one of its images."""
    root = folder() / "pictures"
    shutil.rmtree(root, ignore_errors=True)
    how, content = (content[0], content[1:]) if content else (0, b"")
    inner = [root / "train", root / "test"] if how & 1 else [root]
    for part in inner:
        for name in ("cats", "dogs")[: 1 + (how >> 1 & 1)]:
            (part / name).mkdir(parents=True)
            for n in range(how >> 2 & 3):
                (part / name / f"{n}.png").write_bytes(images()[0] if n else content)
    if how & 16:
        (inner[-1] / "empty").mkdir(parents=True)
    if how & 32:
        (root / "notes.txt").write_bytes(content)
    data = read_folder(root, size=(4, 4) if how & 64 else None, grey=True if how & 128 else None)
    assert len(data.train.y) + len(data.test.y) == len(inner) * len(data.classes) * (how >> 2 & 3)


def _mutate_folder(data: bytes, rng: random.Random) -> bytes:
    return bytes([rng.randrange(256)]) + (_mutate_image(data[1:], rng) if rng.random() < 0.8 else data[1:])


FOLDER = Target(
    "folder",
    _call_folder,
    lambda: [bytes([how]) + image for how in (0b10001010, 0b10001111, 0b11101010) for image in images()[::5]],
    _mutate_folder,
    lambda data: data[:1] + summed(data[1:]),
    names=str(folder() / "pictures"),
    sample=200,
    whole=(1, 30_000),
)

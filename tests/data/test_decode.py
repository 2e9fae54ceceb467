"""Bytes that claim to be an image: decoded, or refused with one kind of error and little work."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from xcnn.data import read_images
from xcnn.data.images import decode_image, resize_image
from xcnn.errors import DataError, Error, FileError

Image = pytest.importorskip("PIL.Image", reason='needs Pillow: pip install "xcnn[app]"')
RNG = np.random.default_rng(0)
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
LIMITS = {"formats": FORMATS, "pixels": 16_000_000, "side": 8192}


def encoded(kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (12, 9), **options) -> bytes:
    pixels = RNG.integers(0, 256, (*size[::-1], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *chunks: bytes, rows: bytes = b"") -> bytes:
    """Return a grey PNG file of 1 bit a pixel, with `rows` or nothing but zeros, well packed."""
    packer = zlib.compressobj(9)
    if rows:
        data = packer.compress(rows) + packer.flush()
    else:
        row = bytes(1 + (width + 7) // 8) * 64
        data = b"".join(packer.compress(row) for _ in range(-(-height // 64))) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_bytes_and_files_are_decoded_alike(tmp_path, kind, mode):
    content = encoded(kind, mode)
    (tmp_path / "x").write_bytes(content)
    for grey in (True, False):
        x = decode_image(content, grey=grey, **LIMITS)
        assert x.shape == (1 if grey else 3, 9, 12)
        assert x.dtype == np.uint8
        np.testing.assert_array_equal(x[None], read_images([tmp_path / "x"], grey=grey))


def test_resizing_is_the_same_before_and_after(tmp_path):
    content = encoded(size=(40, 30))
    (tmp_path / "x.png").write_bytes(content)
    for grey in (True, False):
        x = resize_image(decode_image(content, grey=grey), (8, 9))
        np.testing.assert_array_equal(x[None], read_images([tmp_path / "x.png"], size=(8, 9), grey=grey))
    assert resize_image(x, (8, 9)) is x


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_several_frames_the_first_is_taken(kind):
    frames = [Image.fromarray(np.full((5, 6), value, np.uint8)).convert("RGB") for value in (200, 10, 90)]
    file = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], **options)
    assert decode_image(file.getvalue(), grey=True, **LIMITS).tolist() == [[[200] * 6] * 5]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_refused_wherever_it_ends(kind):
    content = encoded(kind, size=(40, 30))
    for length in {0, 1, 10, 30, len(content) // 3, len(content) // 2, len(content) - 40}:
        with pytest.raises(FileError, match=r"^the image: cannot be read as an image"):
            decode_image(content[:length], **LIMITS)


@pytest.mark.parametrize("kind", ["TIFF", "PPM", "ICO", "TGA", "PDF", "EPS"])
def test_only_the_formats_that_were_named_are_tried(kind):
    content = encoded(kind, size=(16, 16))
    with pytest.raises(FileError, match=r"cannot be read as an image: no PNG, JPEG, GIF, BMP, WEBP$"):
        decode_image(content, **LIMITS)


def test_a_picture_on_disk_is_none_of_a_requests_business(tmp_path):
    """A path as content is content."""
    (tmp_path / "x.png").write_bytes(encoded())
    with pytest.raises(FileError, match="cannot be read as an image"):
        decode_image(bytes(tmp_path / "x.png"), **LIMITS)


def test_limits_hold_before_a_pixel_is_decoded():
    broken = png(9000, 10, rows=b"nothing like it")
    with pytest.raises(DataError, match=r"has 10 x 9,000 pixels; needed at most 8,192 on each side"):
        decode_image(broken, **LIMITS)
    with pytest.raises(DataError, match=r"has 8,000 x 8,000 pixels; needed at most 16,000,000 altogether"):
        decode_image(png(8000, 8000, rows=b"nothing like it"), **LIMITS)
    assert decode_image(png(8192, 1953), **LIMITS).shape == (1, 1953, 8192)  # 15,998,976


@cache
def bombs() -> dict[str, bytes]:
    """Return small files that would grow large."""
    gif = bytearray(encoded("GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    frame = bytearray(encoded("GIF"))
    at = frame.index(b"\x2c", 13 + 3 * 2 ** ((frame[10] & 7) + 1))
    frame[at + 5 : at + 9] = struct.pack("<HH", 65535, 65535)
    bmp = bytearray(encoded("BMP"))
    bmp[18:26] = struct.pack("<ii", 60000, 60000)
    webp = bytearray(encoded("WEBP", lossless=True))
    webp[21:25] = struct.pack("<I", 0x3FFF | 0x3FFF << 14)  # sides less one, in 14 bits each
    jpeg = bytearray(encoded("JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    much = zlib.compress(bytes(50_000_000), 9)
    return {
        "png": png(60000, 60000),
        "gif": bytes(gif),
        "frame of a gif": bytes(frame),
        "bmp": bytes(bmp),
        "webp": bytes(webp),
        "jpeg": bytes(jpeg),
        "profile": png(8, 8, chunk(b"iCCP", b"name\0\0" + much), rows=b"\0\0"),
        "text": png(8, 8, *[chunk(b"zTXt", b"name\0\0" + much)] * 3, rows=b"\0\0"),
        "many texts": png(8, 8, *[chunk(b"zTXt", b"n\0\0" + zlib.compress(bytes(10**6)))] * 90, rows=b"\0\0"),
        "scans": encoded("JPEG", progressive=True, size=(64, 64)) + b"\xff\xda" * 33,
        "comments": encoded("GIF") + b"\x21\xfe\x01c\0" * 1001,
    }


def test_bombs_are_small():
    assert all(len(content) < 600_000 for content in bombs().values())


@pytest.mark.parametrize("name", bombs())
def test_a_bomb_is_refused(name):
    with pytest.raises(Error, match=r"pixels; needed at most|cannot be read as an image"):
        decode_image(bombs()[name], **LIMITS)


_DEFUSE = """
import pathlib, resource, sys
from xcnn.data.images import decode_image
from xcnn.errors import Error
from PIL import Image
Image.init()
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
for path in pathlib.Path(sys.argv[1]).iterdir():
    try:
        decode_image(path.read_bytes(), formats=sys.argv[2:], pixels=16_000_000, side=8192)
    except Error:
        pass
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux tells it")
def test_bombs_get_none_of_the_memory_that_they_ask_for(tmp_path):
    for name, content in bombs().items():
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", _DEFUSE, str(tmp_path), *FORMATS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert not done.stderr
    assert int(done.stdout) < 150  # MiB; Pillow itself allows 64 for texts


def test_a_small_file_gets_none_of_the_memory_that_it_asks_for(tmp_path):
    (tmp_path / "x.png").write_bytes(png(9000, 9000))
    with pytest.raises(DataError, match=r"x\.png: has 9,000 x 9,000 pixels; needed at most 16,000,000"):
        read_images([tmp_path / "x.png"])
    noise = b"".join(b"\0" + row.tobytes() for row in RNG.integers(0, 256, (4100, 513), np.uint8))
    (tmp_path / "x.png").write_bytes(png(4104, 4100, rows=noise))
    assert read_images([tmp_path / "x.png"]).shape == (1, 1, 4100, 4104)


def test_pillows_own_warnings_stay_inside(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)  # 108 are a warning, no error
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert decode_image(encoded(), **LIMITS).shape == (3, 9, 12)
    assert not caught


def test_other_warnings_are_as_before():
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: decode_image(encoded("JPEG"), **LIMITS), range(200)))
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return a file with some bytes changed, cut out, repeated or cut off; a PNG's sums put right again."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(data))
        what = rng.random()
        if what < 0.6:
            data[at] = rng.choice((0, 255, rng.randrange(256), data[at] ^ (1 << rng.randrange(8))))
        elif what < 0.75:
            del data[at : at + rng.randrange(1, 9)]
        elif what < 0.9:
            data[at:at] = data[at : at + rng.randrange(1, 40)]
        elif what < 0.95:
            data = data[: max(at, 1)]
        else:
            data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"))
        if not data:
            return b""
    return summed(bytes(data)) if content.startswith(b"\x89PNG") and rng.random() < 0.8 else bytes(data)


def summed(content: bytes) -> bytes:
    """Return a PNG file with the sums of its chunks as they must be, so that what is broken is read."""
    data, at = bytearray(content), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        stop = at + 8 + length
        if stop + 4 > len(data):
            break
        data[stop : stop + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : stop]))
        at = stop + 4
    return bytes(data)


def seeds() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a picture"
    profile = b"\0" * 200
    frames = {"save_all": True, "append_images": [Image.new("RGB", (12, 9), "red")]}
    found = [encoded(kind, mode) for kind in FORMATS for mode in ("L", "RGB")]
    found += [encoded("PNG", mode) for mode in ("1", "P", "LA", "RGBA", "I;16")]
    found += [encoded("PNG", exif=exif, icc_profile=profile), encoded("PNG", "P", transparency=b"\0\7")]
    found += [encoded("JPEG", exif=exif), encoded("JPEG", "CMYK"), encoded("JPEG", progressive=True)]
    found += [encoded(kind, **frames) for kind in ("PNG", "GIF", "WEBP")]
    found += [encoded("GIF", "P", transparency=0), encoded("BMP", "1"), encoded("BMP", "P")]
    found += [encoded("WEBP", "RGBA", lossless=True), encoded("WEBP", exif=exif)]
    return found


def test_whatever_is_broken_is_one_kind_of_error():
    rng = random.Random(6)
    files = seeds()
    read = 0
    for n in range(3000):
        content = mutated(files[n % len(files)], rng)
        with suppress(FileError, DataError):
            x = decode_image(content, formats=FORMATS, pixels=100_000, side=1000)
            read += 1
            assert x.dtype == np.uint8
            assert x.shape[0] in (1, 3)
    assert 200 < read < 2800  # the mutations reach behind the headers, and break something


def test_exceptions_of_every_kind_become_one(monkeypatch):
    from PIL import ImageOps

    kinds = (IndexError, KeyError, TypeError, OverflowError, MemoryError, RecursionError, zlib.error)
    for kind in (*kinds, OSError, SyntaxError, struct.error, AssertionError):

        def fail(image, kind=kind):
            raise kind

        monkeypatch.setattr(ImageOps, "exif_transpose", fail)
        with pytest.raises(FileError, match=r"cannot be read as an image: .") as caught:
            decode_image(encoded())
        assert isinstance(caught.value.__cause__, kind)


def test_interrupts_are_let_through(monkeypatch):
    from PIL import ImageOps

    def interrupt(image):
        raise KeyboardInterrupt

    monkeypatch.setattr(ImageOps, "exif_transpose", interrupt)
    with pytest.raises(KeyboardInterrupt):
        decode_image(encoded())


def test_files_that_are_missing_are_refused_as_before():
    with pytest.raises(FileError, match=r"nowhere\.png: cannot be read as an image: .*No such file"):
        read_images([Path("nowhere.png")])

"""Data sets as mirrors serve them: archives and packed files whose sums are known, and lines of numbers."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tarfile
import zlib

from tests.fuzz.harness import Target, folder, written
from tests.fuzz.mutate import mutate_bytes
from xcnn.data.digits import read_optdigits
from xcnn.data.files import Content, Source, contents

FILES = {"a.bin": bytes(range(256)) * 3, "b.bin": b"label" * 40}
WANTED = tuple(Content(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in FILES.items())
SOURCE = Source("x", "x.tar.gz", WANTED, (), "x")

FIELDS = ((0, 100), (124, 12), (156, 1), (157, 100), (257, 8), (345, 155))
"""Of a header of tar: where its name, size, kind, link, magic and prefix stand, and how long they are."""


def _archive(form: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, data in {"readme": b"words", **FILES, "e" * 60 + "/" + "f" * 60: b""}.items():
            member = tarfile.TarInfo(f"x/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(file.getvalue(), mtime=0)


def _call_archive(content: bytes) -> None:
    assert dict(contents(written("x.tar.gz", content), SOURCE)) == FILES


def _mutate_archive(data: bytes, rng: random.Random) -> bytes:
    """Break the archive as often as its package."""
    if rng.random() < 0.3:
        return mutate_bytes(data, rng)
    try:
        inner = bytearray(zlib.decompressobj(31).decompress(data, 10**6))
    except zlib.error:
        return mutate_bytes(data, rng)
    for _ in range(rng.randrange(1, 5)):
        start, (at, n) = 512 * rng.randrange(len(inner) // 512 or 1), rng.choice(FIELDS)
        held = bytes(inner[start + at : start + at + n])
        kinds = (bytes(n), b"7" * (n - 1) + b"\0", b"\x80" + rng.randbytes(n - 1), mutate_bytes(held, rng))
        changed = bytes([rng.choice(b"0125gxLKS\0")]) if n == 1 else rng.choice(kinds)
        inner[start + at : start + at + n] = changed[:n].ljust(n, b"\0")
    inner = inner[: len(inner) // 512 * 512] if rng.random() < 0.7 else inner
    for start in range(0, len(inner) - 511, 512):
        if inner[start + 257 : start + 262] == b"ustar":
            summed = sum(inner[start : start + 148]) + 8 * 32 + sum(inner[start + 156 : start + 512])
            inner[start + 148 : start + 156] = b"%06o\0 " % summed
    return gzip.compress(bytes(inner), 1, mtime=0)


ARCHIVE = Target(
    "archive",
    _call_archive,
    lambda: [_archive(form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)],
    _mutate_archive,
    names=str(folder() / "x.tar.gz"),
    sample=1_500,
    whole=(1, 100_000),
)


def _call_lines(content: bytes) -> None:
    split = read_optdigits("optdigits.tra", content)
    assert split.x.shape == (len(split.y), 1, 8, 8)
    assert set(split.y.tolist()) <= set(range(10))


def _lines(*labels: int) -> bytes:
    return b"".join(b"%d," % (i % 17) * 64 + b"%d\n" % label for i, label in enumerate(labels))


def _mutate_lines(data: bytes, rng: random.Random) -> bytes:
    """Swap a number for nonsense, or change bytes."""
    numbers = data.split(b",")
    if rng.random() < 0.3 or len(numbers) < 2:
        return mutate_bytes(data, rng)
    odd = (
        b"17",
        b"-1",
        b"1e3",
        b"nan",
        b"",
        b"0x1",
        b"9" * 400,
        b"\xff",
        b"1\n2",
        b"#",
        b" 3 ",
        b"1_0",
        b"3.0",
    )
    for _ in range(rng.randrange(1, 4)):
        numbers[rng.randrange(len(numbers))] = rng.choice(odd)
    return b",".join(numbers)


LINES = Target(
    "optdigits",
    _call_lines,
    lambda: [_lines(3, 1, 4), _lines(0), _lines(*range(10))],
    _mutate_lines,
    names="optdigits.tra",
    sample=1_500,
    whole=(1, 100_000),
)

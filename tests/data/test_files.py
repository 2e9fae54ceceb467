"""Files are found where they should be, and believed only byte for byte."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from xcnn.data import available, read_idx
from xcnn.data.cifar import RECORD, read_cifar10
from xcnn.data.digits import read_optdigits
from xcnn.data.files import Content, Source, cache_folder, contents, find, obtain
from xcnn.errors import FileError

_noise = np.random.default_rng(0)
PARTS = {"one.bin": _noise.bytes(700), "two.bin": _noise.bytes(900)}


def content(name: str, data: bytes) -> Content:
    return Content(name, len(data), hashlib.sha256(data).hexdigest())


ARCHIVE = Source("set", "all.tar.gz", tuple(content(*item) for item in PARTS.items()), (), "all")
PLAIN = Source("set", "one.bin", (content("one.bin", PARTS["one.bin"]),), (), "one.bin")
PACKED = Source("set", "one.bin.gz", (content("one.bin", PARTS["one.bin"]),), (), "one.bin")


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"all/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_root_comes_before_the_environment_and_that_before_the_cache(bare, tmp_path, monkeypatch):
    places = {name: tmp_path / name for name in ("root", "environment")} | {"cache": bare}
    monkeypatch.setenv("XCNN_DATA", str(tmp_path / "environment"))
    for folder in places.values():
        (folder / "set").mkdir(parents=True)
    for name in ("cache", "environment", "root"):
        (places[name] / "set" / "one.bin.gz").write_bytes(b"")
        assert find(PACKED, tmp_path / "root") == places[name] / "set" / "one.bin.gz"
    (places["root"] / "set" / "one.bin").write_bytes(b"")
    assert find(PACKED, tmp_path / "root") == places["root"] / "set" / "one.bin"


def test_a_missing_file_without_download_is_one_error(bare):
    with pytest.raises(FileError, match=r"one\.bin: not found in .*; needed it there, or download=True"):
        obtain(PLAIN, download=False)
    assert find(PLAIN) is None


def test_a_root_that_is_no_folder_is_an_error(bare, tmp_path, monkeypatch):
    with pytest.raises(FileError, match=r"root is '.*nowhere'; needed an existing folder"):
        find(PLAIN, tmp_path / "nowhere")
    monkeypatch.setenv("XCNN_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileError, match="XCNN_DATA is"):
        find(PLAIN)


def test_the_cache_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "xcnn"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification has such a path ignored
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == tmp_path / ".cache" / "xcnn"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == tmp_path / "Library" / "Caches" / "xcnn"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "xcnn"


def test_an_archive_and_its_unpacked_folder_hold_the_same(tmp_path):
    packed = tar(tmp_path / "all.tar.gz", {"readme": b"read me", **PARTS})
    folder = tmp_path / "all"
    folder.mkdir()
    for name, data in PARTS.items():
        (folder / name).write_bytes(data)
    assert dict(contents(packed, ARCHIVE)) == PARTS
    assert dict(contents(folder, ARCHIVE)) == PARTS


def test_a_compressed_and_a_plain_file_hold_the_same(tmp_path):
    (tmp_path / "one.bin").write_bytes(PARTS["one.bin"])
    (tmp_path / "one.bin.gz").write_bytes(gzip.compress(PARTS["one.bin"]))
    for name in ("one.bin", "one.bin.gz"):
        assert dict(contents(tmp_path / name, PACKED)) == {"one.bin": PARTS["one.bin"]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (PARTS["one.bin"][:-1], "one.bin has only 699 bytes; needed 700"),
        (PARTS["one.bin"] + b"1", "one.bin has more than 700 bytes; needed 700"),
        (PARTS["one.bin"][::-1], "one.bin has SHA-256 [0-9a-f]{64}; needed [0-9a-f]{64}"),
    ],
)
def test_a_wrong_file_is_one_error_that_names_it(tmp_path, data, message):
    (tmp_path / "one.bin").write_bytes(data)
    (tmp_path / "one.bin.gz").write_bytes(gzip.compress(data))
    tar(tmp_path / "all.tar.gz", {**PARTS, "one.bin": data})
    for name, source in (("one.bin", PLAIN), ("one.bin.gz", PACKED), ("all.tar.gz", ARCHIVE)):
        with pytest.raises(FileError, match=rf"{name}: {message}"):
            list(contents(tmp_path / name, source))


@pytest.mark.parametrize(("name", "source"), [("one.bin.gz", PACKED), ("all.tar.gz", ARCHIVE)])
@pytest.mark.parametrize("damage", ["truncated", "altered", "foreign", "empty"])
def test_damaged_compressed_data_is_one_error(tmp_path, name, source, damage):
    path = tar(tmp_path / name, PARTS)
    if source is PACKED:
        path.write_bytes(gzip.compress(PARTS["one.bin"]))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    altered = data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]
    damaged = {"truncated": data[:middle], "altered": altered, "foreign": b"no gzip", "empty": b""}
    path.write_bytes(damaged[damage])
    with pytest.raises(FileError, match=f"{name}: .*; needed"):
        list(contents(path, source))


def test_an_archive_without_a_member_is_an_error(tmp_path):
    path = tar(tmp_path / "all.tar.gz", {"one.bin": PARTS["one.bin"]})
    with pytest.raises(FileError, match=r"the archive has no two\.bin; needed it"):
        list(contents(path, ARCHIVE))


def test_a_folder_without_a_member_is_an_error(tmp_path):
    (tmp_path / "all").mkdir()
    with pytest.raises(FileError, match=r"No such file.*one\.bin.*; needed all\.tar\.gz whole"):
        list(contents(tmp_path / "all", ARCHIVE))


def test_a_link_in_an_archive_is_not_followed(tmp_path):
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("all/one.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(FileError, match=r"the archive has no one\.bin, two\.bin"):
        list(contents(tmp_path / "all.tar.gz", ARCHIVE))


def test_a_member_that_claims_to_be_endless_is_not_waited_for(tmp_path):
    claim = tarfile.TarInfo("all/readme")
    claim.size = 2**60
    path = tmp_path / "all.tar.gz"
    path.write_bytes(gzip.compress(claim.tobuf(tarfile.GNU_FORMAT) + b"read me"))
    with pytest.raises(FileError, match=r"all\.tar\.gz: .* it ends within a member; needed"):
        list(contents(path, ARCHIVE))


def test_a_bomb_does_not_go_off(tmp_path):
    zeros = bytes(2**24)
    (tmp_path / "one.bin.gz").write_bytes(gzip.compress(zeros))
    with pytest.raises(FileError, match="has more than 700 bytes"):
        list(contents(tmp_path / "one.bin.gz", PACKED))
    tar(tmp_path / "all.tar.gz", {"padding": zeros, **PARTS})
    with pytest.raises(FileError, match="unpacks to more than 1050176 bytes"):
        list(contents(tmp_path / "all.tar.gz", ARCHIVE))


def idx(*shape: int, data: bytes | None = None) -> bytes:
    head = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    return head + (bytes(range(np.prod(shape))) if data is None else data)


@pytest.mark.parametrize("name", ["images-idx3-ubyte", "images-idx3-ubyte.gz"])
def test_idx_files_are_read(tmp_path, name):
    data = idx(2, 3, 4)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    x = read_idx(tmp_path / name)
    np.testing.assert_array_equal(x, np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    assert x.flags.writeable


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89PNG....", "begins with the bytes '89 50 4e 47'; needed '00 00 08'"),
        (b"\0\0", "begins with the bytes '00 00'"),
        (b"\0\0\x0d\x03" + bytes(12), "begins with the bytes '00 00 0d 03'"),
        (idx(2, 3, 4)[:10], "ends in its header; needed 3 extents"),
        (idx(2, 3, 4)[:-1], "promises 2 x 3 x 4 = 24 bytes and has only 23"),
        (idx(2, 3, 4) + b"\0", "promises 2 x 3 x 4 = 24 bytes and has more"),
        (
            b"\0\0\x08\x02" + b"\xff" * 8,
            "promises 4294967295 x 4294967295 elements; needed what an array can have",
        ),
        (b"\0\0\x08\x03" + bytes(4) + b"\xff" * 8, "promises 0 x 4294967295 x 4294967295 elements"),
    ],
)
def test_a_file_that_is_no_idx_file_is_refused(tmp_path, data, message):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(FileError, match=message):
        read_idx(tmp_path / "x")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_idx_header_gets_none_of_the_memory_that_it_asks_for(tmp_path, suffix):
    data = b"\0\0\x08\x02\0\1\0\0\x7f\xff\xff\xff" + bytes(50)
    (tmp_path / f"x{suffix}").write_bytes(gzip.compress(data) if suffix else data)
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match="65536 x 2147483647 = 140737488289792 bytes and has only 50"):
            read_idx(tmp_path / f"x{suffix}")
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_an_idx_file_that_cannot_be_read_is_one_error(tmp_path):
    with pytest.raises(FileError, match="cannot be read: FileNotFoundError"):
        read_idx(tmp_path / "x")
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx(2, 3, 4))[:-4])
    with pytest.raises(FileError, match=r"x\.gz: cannot be read: EOFError"):
        read_idx(tmp_path / "x.gz")


def test_cifar_records_are_label_then_three_planes():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3072), np.uint8)
    labels = np.array([3, 1, 4, 1, 5], np.uint8)
    records = np.concatenate([labels[:, None], pixels], axis=1)
    files = [("test_batch.bin", records[4:].tobytes())]
    files += [("data_batch_2.bin", records[2:4].tobytes()), ("data_batch_1.bin", records[:2].tobytes())]
    train, test = read_cifar10(files)
    np.testing.assert_array_equal(train.x, pixels[:4].reshape(4, 3, 32, 32))
    assert train.y.tolist() == [3, 1, 4, 1]
    assert test.y.tolist() == [5]
    assert train.y.dtype == np.int64


def test_cifar_files_of_another_form_are_refused():
    with pytest.raises(FileError, match="has 3072 bytes; needed a multiple of 3073"):
        read_cifar10([("data_batch_1.bin", bytes(RECORD - 1))])
    with pytest.raises(FileError, match="holds the label 200; needed 0 to 9"):
        read_cifar10([("data_batch_1.bin", bytes([200]) + bytes(RECORD - 1))])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "has no lines"),
        (" \n\n", "has no lines"),
        ("1,2,3", "has 3 columns"),
        ("17," * 64 + "3", "of 3 to 17"),
        ("x," * 64 + "3", "could not convert"),
    ],
)
def test_optdigits_of_another_form_are_refused(line, message):
    with pytest.raises(FileError, match=rf"optdigits\.tra: .*{message}.*; needed"):
        read_optdigits("optdigits.tra", line.encode())


def test_what_is_available_is_said_without_a_look_inside(bare):
    assert available()["mnist"] is None
    (bare / "optdigits").mkdir(parents=True)
    (bare / "optdigits" / "optdigits.tra").write_bytes(b"")
    assert available()["optdigits"] is None
    (bare / "optdigits" / "optdigits.tes").write_bytes(b"")
    assert available()["optdigits"] == bare / "optdigits"
    assert set(available()) == {"digits", "optdigits", "mnist", "fashion-mnist", "cifar10"}

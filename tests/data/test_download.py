"""Downloads from a server on loopback: good, truncated, altered, missing, broken off and resumed."""

from __future__ import annotations

import gzip
import hashlib
import socket
import sys

import pytest

from xcnn.data import download
from xcnn.data.download import fetch
from xcnn.data.files import Content, Source, contents, obtain
from xcnn.errors import FileError

DATA = bytes(range(256)) * 40
PACKED = gzip.compress(DATA, 0, mtime=0)  # level 0: as long as the data


def source_at(*addresses: str) -> Source:
    content = Content("numbers", len(DATA), hashlib.sha256(DATA).hexdigest())
    return Source("set", "numbers.gz", (content,), tuple(addresses), "numbers")


def test_a_good_file_arrives_whole(mirror, tmp_path):
    mirror.files["/numbers.gz"] = PACKED
    path = fetch(source_at(f"{mirror.address}/numbers.gz"), tmp_path / "a" / "b")
    assert path == tmp_path / "a" / "b" / "numbers.gz"
    assert path.read_bytes() == PACKED
    assert mirror.asked == [("/numbers.gz", None)]
    assert [p.name for p in path.parent.iterdir()] == ["numbers.gz"]


def test_the_wrapper_may_differ_as_long_as_the_content_is_right(mirror, tmp_path):
    mirror.files["/numbers.gz"] = gzip.compress(DATA, 9, mtime=5)
    path = fetch(source_at(f"{mirror.address}/numbers.gz"), tmp_path)
    assert gzip.decompress(path.read_bytes()) == DATA


def test_after_a_404_comes_the_next_mirror(mirror, tmp_path):
    mirror.files["/good/numbers.gz"] = PACKED
    addresses = [f"{mirror.address}/{folder}/numbers.gz" for folder in ("missing", "good")]
    assert fetch(source_at(*addresses), tmp_path).read_bytes() == PACKED
    assert [path for path, _ in mirror.asked] == ["/missing/numbers.gz", "/good/numbers.gz"]


def test_after_a_wrong_sum_comes_the_next_mirror(mirror, tmp_path):
    altered = bytearray(DATA)
    altered[100] ^= 1
    mirror.files["/bad/numbers.gz"] = gzip.compress(altered, 0, mtime=0)
    mirror.files["/good/numbers.gz"] = PACKED
    addresses = [f"{mirror.address}/{folder}/numbers.gz" for folder in ("bad", "good")]
    assert fetch(source_at(*addresses), tmp_path).read_bytes() == PACKED
    assert mirror.asked[1] == ("/good/numbers.gz", None)  # nothing of the bad file is continued


def test_a_truncated_file_is_refused(mirror, tmp_path):
    mirror.files["/numbers.gz"] = PACKED[:-100]
    with pytest.raises(FileError, match=r"compressed data cannot be read: EOFError"):
        fetch(source_at(f"{mirror.address}/numbers.gz"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_is_resumed(mirror, tmp_path):
    mirror.files["/numbers.gz"] = PACKED
    mirror.breaks_after = 4000
    path = fetch(source_at(f"{mirror.address}/numbers.gz"), tmp_path)
    assert path.read_bytes() == PACKED
    assert [wanted for _, wanted in mirror.asked] == [None, "bytes=4000-", "bytes=8000-"]


def test_what_an_earlier_run_left_is_resumed(mirror, tmp_path):
    mirror.files["/numbers.gz"] = PACKED
    (tmp_path / "numbers.gz.part").write_bytes(PACKED[:5000])
    path = fetch(source_at(f"{mirror.address}/numbers.gz"), tmp_path)
    assert path.read_bytes() == PACKED
    assert mirror.asked == [("/numbers.gz", "bytes=5000-")]


def test_a_download_that_only_missed_its_new_name_is_finished(mirror, tmp_path):
    mirror.files["/numbers.gz"] = PACKED
    (tmp_path / "numbers.gz.part").write_bytes(PACKED)
    assert fetch(source_at(f"{mirror.address}/numbers.gz"), tmp_path).read_bytes() == PACKED


def test_a_server_that_cannot_resume_is_read_from_the_start(mirror, tmp_path):
    mirror.files["/numbers.gz"] = PACKED
    mirror.resumes = False
    (tmp_path / "numbers.gz.part").write_bytes(b"something else" * 500)
    assert fetch(source_at(f"{mirror.address}/numbers.gz"), tmp_path).read_bytes() == PACKED
    assert len(mirror.asked) == 1


def test_a_wrong_beginning_is_thrown_away(mirror, tmp_path):
    mirror.files["/numbers.gz"] = PACKED
    (tmp_path / "numbers.gz.part").write_bytes(b"something else" * 500)
    assert fetch(source_at(f"{mirror.address}/numbers.gz"), tmp_path).read_bytes() == PACKED
    assert mirror.asked == [("/numbers.gz", "bytes=7000-"), ("/numbers.gz", None)]


def test_a_mirror_that_brings_nothing_more_is_left(mirror, tmp_path):
    mirror.files["/numbers.gz"] = PACKED
    mirror.breaks_after = 0
    with pytest.raises(FileError, match=f"ended after 0 of {len(PACKED)} bytes"):
        fetch(source_at(f"{mirror.address}/numbers.gz"), tmp_path)
    assert len(mirror.asked) == 1


def test_an_endless_file_is_not_read_to_its_end(mirror, tmp_path):
    mirror.files["/numbers.gz"] = bytes(2**22)
    with pytest.raises(FileError, match="serves more than the 1058826 bytes"):
        fetch(source_at(f"{mirror.address}/numbers.gz"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_silent_mirror_is_left_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(FileError, match="timed out"):
        fetch(source_at(f"http://127.0.0.1:{server.getsockname()[1]}/numbers.gz"), tmp_path)


def test_one_error_lists_each_mirror_with_its_reason(mirror, tmp_path):
    mirror.files["/page/numbers.gz"] = b"<html>sign in</html>"
    mirror.files["/raw/numbers.gz"] = gzip.compress(DATA[:-1], 0)
    folders = ("missing", "page", "raw")
    with pytest.raises(FileError) as caught:
        fetch(source_at(*(f"{mirror.address}/{folder}/numbers.gz" for folder in folders)), tmp_path)
    first, *reasons, last = str(caught.value).split("\n")
    assert first == "numbers.gz: no mirror gave the file:"
    assert reasons[0] == f"  {mirror.address}/missing/numbers.gz: HTTP 404 Not Found"
    assert "Not a gzipped file" in reasons[1]
    assert reasons[2].endswith(f"numbers has only {len(DATA) - 1} bytes; needed {len(DATA)}")
    assert last == f"It may be put by hand at {tmp_path / 'numbers.gz'}"


def test_ctrl_c_leaves_what_came_for_the_next_time(mirror, tmp_path, monkeypatch):
    mirror.files["/numbers.gz"] = PACKED
    mirror.breaks_after = 4000
    source = source_at(f"{mirror.address}/numbers.gz")

    def interrupt() -> None:
        if len(mirror.asked) == 2:
            monkeypatch.setattr(download, "_transfer", stop)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    mirror.on_request = interrupt
    with pytest.raises(KeyboardInterrupt):
        fetch(source, tmp_path)
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "*")
    assert (tmp_path / "numbers.gz.part").read_bytes() == PACKED[:8000]
    assert not (tmp_path / "numbers.gz").exists()
    assert fetch(source, tmp_path).read_bytes() == PACKED


def test_a_file_that_another_process_finished_is_taken(mirror, tmp_path):
    mirror.files["/numbers.gz"] = b"broken"
    mirror.on_request = lambda: (tmp_path / "numbers.gz").write_bytes(PACKED)
    assert fetch(source_at(f"{mirror.address}/numbers.gz"), tmp_path).read_bytes() == PACKED


def test_a_download_goes_to_the_cache_and_is_found_there(mirror, bare):
    mirror.files["/numbers.gz"] = PACKED
    source = source_at(f"{mirror.address}/numbers.gz")
    for _ in range(2):
        path = obtain(source)
        assert path == bare / "set" / "numbers.gz"
    assert len(mirror.asked) == 1
    assert dict(contents(path, source)) == {"numbers": DATA}


def test_a_cache_that_cannot_be_made_is_one_error(mirror, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="folder for downloads cannot be made"):
        fetch(source_at(f"{mirror.address}/numbers.gz"), tmp_path / "file" / "set")


@pytest.mark.parametrize("rich", [True, False])
def test_the_bar_is_for_terminals_only(mirror, tmp_path, capsys, monkeypatch, rich):
    if not rich:
        monkeypatch.setitem(sys.modules, "rich", None)
    mirror.files["/numbers.gz"] = PACKED
    source = source_at(f"{mirror.address}/numbers.gz")
    fetch(source, tmp_path / "quiet")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    fetch(source, tmp_path / "shown")
    assert "numbers.gz" in capsys.readouterr().err

"""Every file that xcnn writes is the old one or the new one, whenever the process is killed."""

from __future__ import annotations

import ast
import json
import re
import shutil

import pytest

from tests.crash.conftest import WHOLE
from tests.crash.writers import WRITERS
from tests.crash.zygote import ROOT

# Who opens files to write, other than `xcnn.files`, and why no half of one is taken for a whole.
OTHERS = {
    "xcnn/files.py": "is where files are written whole",
    "xcnn/lock.py": "nothing is written to a lock",
    "xcnn/data/download.py": "to NAME.part, which gets its name when its SHA-256 is right",
    "xcnn/search/worker.py": "to a pipe",
    "xcnn/sklearn/network.py": "to a temporary folder that is deleted at once",
}


def files(folder):
    """Return what a folder holds under names that are not hidden."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    named = {re.sub(r"\d{8}-\d{6}", "TIME", str(path.relative_to(folder))): path for path in found}
    return {name: path.read_bytes() for name, path in named.items()}


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_file_is_the_old_one_or_the_new_one(processes, tmp_path, write):
    what, versions = f"writers.{write.__name__}", []
    for version in (0, 1):
        folder = tmp_path / f"version-{version}"
        done = processes.run(what, folder, version=version)
        assert done.code == 0, done.output
        versions.append(files(folder))
        assert not list(folder.rglob(".*"))
    kills = 0
    for at in range(1, done.calls + 1) if WHOLE else range(1 + len(what) % 2, done.calls + 1, 2):
        folder = tmp_path / f"killed-{at}"
        shutil.copytree(tmp_path / "version-0", folder)
        kills += processes.run(what, folder, version=1, at=at).killed
        for name, content in files(folder).items():
            known = [version.get(name) for version in versions]
            assert content in known or name.endswith(".part"), (at, name)
    assert kills >= 2
    done = processes.run(what, folder, version=1)
    assert done.code == 0, done.output
    assert files(folder) == versions[0] | versions[1]


def test_a_log_has_whole_lines_though_a_kill_left_a_half(processes, tmp_path):
    for at in range(5):
        folder = tmp_path / f"{at}"
        processes.run("writers.line", folder, version=0, at=at)
        processes.run("writers.line", folder, version=1)
        epochs = [json.loads(line)["epoch"] for line in (folder / "log.jsonl").read_text().splitlines()]
        assert epochs in ([1, 2], [2])
        with (folder / "log.jsonl").open("a") as file:
            file.write('{"epoch": 3, "lo')
        processes.run("writers.line", folder, version=3)
        *_, half, last = (folder / "log.jsonl").read_text().splitlines()
        assert (half, json.loads(last)["epoch"]) == ('{"epoch": 3, "lo', 4)


def test_a_search_ends_as_if_it_had_not_been_killed(processes, tmp_path):
    done = processes.run("writers.search", tmp_path / "whole", version=0)
    assert done.code == 0, done.output
    want = _comparable(tmp_path / "whole")
    for at in range(1, done.calls + 1, 1 if WHOLE else 9):
        folder = tmp_path / f"{at}"
        assert processes.run("writers.search", folder, version=0, at=at).killed
        again = processes.run("writers.search", folder, version=0)
        assert again.code == 0, again.output
        assert _comparable(folder) == want
        assert not [path for path in folder.rglob(".*")]


def _comparable(folder):
    found = files(folder)
    lines = [json.loads(line) for line in found.pop("trials.jsonl").splitlines()]
    lines.sort(key=lambda line: line["index"])
    return found, [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def test_nobody_else_opens_files_to_write():
    found = {}
    for path in sorted((ROOT / "xcnn").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _writes(node):
                found.setdefault(str(path.relative_to(ROOT).as_posix()), []).append(node.lineno)
    assert set(found) == set(OTHERS), found


def _writes(call):
    """Whether a call opens a file to write, or writes one at once."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name in ("write_text", "write_bytes", "tofile", "savetxt", "imsave", "NamedTemporaryFile"):
        return True
    texts = [
        node.value
        for part in (*call.args, *call.keywords)
        for node in ast.walk(part)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    modes = {"w", "a", "x", "r+", "w+", "a+", "wb", "ab", "xb", "r+b", "ab+", "wb+"}
    return name in ("open", "fdopen") and bool(modes & set(texts))

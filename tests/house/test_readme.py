"""README.md says what is true: its programs run, and the source it quotes is the source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
QUOTES = re.findall(r"<!-- source: (\S+) -->\n```python\n(.*?)```", README, re.DOTALL)
PROGRAMS = re.findall(r"<!-- run -->\n```python\n(.*?)```", README, re.DOTALL)


def test_there_is_something_to_check():
    assert len(QUOTES) >= 2
    assert len(PROGRAMS) >= 3


@pytest.mark.parametrize(("path", "text"), QUOTES, ids=[path for path, _ in QUOTES])
def test_quoted_source_stands_in_the_file(path, text):
    assert text.rstrip() in (ROOT / path).read_text()


def test_programs_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xcnn.backend._default", None)
    names: dict[str, object] = {}
    for program in PROGRAMS:
        exec(compile(program, "README.md", "exec"), names)
    assert names["history"]["val_accuracy"][-1] > 0.95
    assert (tmp_path / "digits.xcnn").is_file()
    assert "layers[0].w (16, 1, 3, 3)" in capsys.readouterr().out

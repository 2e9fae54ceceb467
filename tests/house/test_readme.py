"""README.md and CONTRIBUTING.md say what is true: their programs run, and what they quote is the source."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import xcnn
from tests.tolerances import EXACT

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
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


def test_the_layer_that_contributing_shows_is_a_layer():
    op, layer = re.findall(r"```python\n(.*?)```", CONTRIBUTING, re.DOTALL)[:2]
    names: dict[str, object] = {"__name__": "square"}
    exec(compile(op, "square_op", "exec"), names)
    exec(
        compile(layer.replace("from xcnn.ops.square import scaled_square\n", ""), "square_layer", "exec"),
        names,
    )
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
    assert xcnn.gradcheck(names["ScaledSquare"](), x) < 1e-5


def test_contributing_tells_the_tolerances():
    told = re.findall(r"^\| (float\d+) \| (\S+) \| (\S+) \|$", CONTRIBUTING, re.MULTILINE)
    assert {dtype: (float(rtol), float(atol)) for dtype, rtol, atol in told} == EXACT

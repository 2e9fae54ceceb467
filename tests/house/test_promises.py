"""PROMISES.md says what the code does and what the tests hold; nothing in it may grow old."""

from __future__ import annotations

import ast
import dataclasses
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import gpu_agree
from tests.cuda.kinds import CLOSE
from tests.interpreter import python
from tests.kernels import truth
from tests.tolerances import DIFFERENCES, EXACT, LOSSES, UNITS
from xcnn.draw.limits import Limits
from xcnn.io import onnx, onnx_read, sealed_file
from xcnn.ops.precision import FORMATS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "PROMISES.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = [path for top in ("xcnn", "backends") for path in sorted((ROOT / top).rglob("*.py"))]

# What reaches out of this process, and the only modules that may: they are few enough to be read.
OUTSIDE = {
    "ctypes": {"backends/xcnn_cupy/machine.py"},  # CUDA's driver, asked for its version
    "http.client": {"xcnn/data/download.py"},
    "socket": {"xcnn/draw/server.py"},
    "subprocess": {"xcnn/search/worker.py"},  # Python itself
    "urllib.request": {"xcnn/data/download.py"},
}
REACHING = {*OUTSIDE, "asyncio.subprocess", "ftplib", "multiprocessing", "requests", "smtplib"}
RUNNING = {"eval", "exec", "compile", "__import__"}  # built-in functions that run text
FOR_TESTS = {"browser", "dev", "fuzz"}  # extras


def short(number: float) -> str:
    """Return a number as it is written here."""
    mantissa, _, exponent = f"{number:.2e}".partition("e")
    return f"{number:g}" if number >= 0.01 else f"{float(mantissa):g}e{int(exponent)}"


def table(*rows: tuple[str, ...]) -> str:
    """Return rows as Markdown, the first being the heading."""
    heading, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([heading, "|" + " --- |" * len(rows[0]), *others])


def below(mark: str) -> str:
    """Return the table directly below a mark."""
    _, found, rest = TEXT.partition(f"<!-- {mark} -->\n")
    assert found, f"PROMISES.md has no mark {mark}"
    return rest.partition("\n\n")[0]


def tolerances() -> str:
    """Return every tolerance that tests hold, as a table."""
    rows = [("what, and held to what", "of", "relative", "to the largest", "in")]
    what, where = "outputs and gradients, to float64", "`tests/ops`, `tests/layers`, `tests/io/test_onnx.py`"
    rows += [(what, dtype, *map(short, EXACT[dtype]), where) for dtype in EXACT]
    what = "gradients, to differences of fourth order"
    rows.append((what, "float64", *map(short, DIFFERENCES), "`tests/ops/checks.py`"))
    what, where = "losses of twenty steps, to another backend's", "`tests/test_cross_backend.py`"
    rows += [(what, dtype, short(rtol), "", where) for dtype, rtol in LOSSES.items()]
    what, most = "compiled runs, to float64", f"{truth.TIMES:g} times the layers' own error"
    rows.append((what, "float32, float64", most, f"{truth.FLOOR:g} ε", "`tests/kernels/truth.py`"))
    what, where = "CUDA kernels, to float64", "`tests/cuda/kinds.py`"
    rows += [(what, kind, *map(short, CLOSE[kind]), where) for kind in CLOSE if kind not in EXACT]
    what, where = "nets on CUDA, to the layers: outputs; gradients", "`tests/cuda/test_runs.py`"
    most = "; ".join(map(str, UNITS.values()))
    rows += [(what, name, "", f"{most} times 2^-{form.digits}", where) for name, form in FORMATS.items()]
    what, where = "ops on a GPU, to float64", "`tests/test_bench_gpu.py`"
    rows += [(what, dtype, "", short(limit), where) for dtype, limit in gpu_agree.LIMITS.items()]
    what = "nets on a GPU, to float64: logits; gradient"
    rows += [(what, p, "", "; ".join(map(short, most)), where) for p, most in gpu_agree.PRECISIONS.items()]
    return table(*rows)


def versions() -> str:
    """Return what xcnn runs with, as a table."""
    pattern = r"Programming Language :: Python :: (3\.\d+)$"
    pythons = [found[1] for line in PROJECT["classifiers"] if (found := re.match(pattern, line))]
    rows = [("", "from", "where"), ("Python", f"{pythons[0]} to {pythons[-1]}", "always")]
    assert PROJECT["requires-python"] == f">={pythons[0]}"
    groups = {"always": PROJECT["dependencies"]} | {
        f"extra `{name}`": lines
        for name, lines in PROJECT["optional-dependencies"].items()
        if name not in FOR_TESTS
    }
    for where, lines in groups.items():
        for line in lines:
            found = re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)(?:,<([\d.]+))?", line)
            if found:
                name, least, below = found.groups()
                rows.append((name, least + (f", below {below}" if below else ""), where))
            else:
                assert line.startswith("xcnn["), line
    return table(*rows)


def test_the_tolerances_are_those_of_the_tests():
    assert below("tolerances") == tolerances(), f"write this below the mark:\n{tolerances()}"


def test_the_versions_are_those_of_the_project():
    assert below("versions") == versions(), f"write this below the mark:\n{versions()}"


def test_every_test_that_is_named_exists():
    named = re.findall(r"`(tests/[\w/.]+?)(?:::(\w+))?`", TEXT)
    assert len(named) > 30
    for path, function in named:
        assert (ROOT / path).exists(), path
        assert not function or f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), function


def test_every_promise_names_a_test():
    promises = re.findall(r"^- .*(?:\n  .*)*", TEXT, re.MULTILINE)
    assert len(promises) > 20
    assert [text for text in promises if "`tests/" not in text] == []


@pytest.mark.parametrize(
    "said",
    [
        f"`.xcnn` files are of format {sealed_file.FORMAT}",
        f"ONNX files are written in opset {onnx.OPSET} and read from opset {onnx_read._OLDEST}",
        f"Version {PROJECT['version']}",
    ],
)
def test_formats_are_those_of_the_code(said):
    assert said in TEXT


def test_the_limits_are_those_of_the_server():
    limits, text = Limits(), " ".join(TEXT.split())
    for said in (
        f"{limits.body >> 20} MiB a request",
        f"{limits.bodies >> 20} MiB and {limits.requests} requests at once",
        f"{limits.pictures} pictures, {limits.side:,} pixels a side, {limits.pixels:,} in all",
        f"{limits.seconds:g} seconds until all of it has come",
    ):
        assert said in text
    assert len(dataclasses.fields(limits)) == 7


# What files may do


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path)))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_text_is_run_and_few_modules_reach_out(path):
    place, found = path.relative_to(ROOT).as_posix(), []
    for node in nodes(path):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RUNNING:
            found.append(f"{node.lineno}: {node.func.id}()")
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.system", "os.popen", "os.execv"):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
        found += [
            f"{node.lineno}: {name}"
            for name in names
            if name in REACHING and place not in OUTSIDE.get(name, ())
        ]
    assert found == []


def test_every_module_that_may_reach_out_does():
    for name, places in OUTSIDE.items():
        for place in places:
            assert f"import {name}" in (ROOT / place).read_text(encoding="utf-8")


AUDITED = """
    import io, json, pathlib, sys
    import numpy as np
    import xcnn, xcnn.io
    from xcnn.data.images import decode_image

    seen = []
    NEVER = ("compile", "exec", "os.exec", "os.fork", "os.posix_spawn", "os.system", "pickle.find_class",
             "socket.", "subprocess.", "urllib.", "ctypes.dlopen", "marshal.loads")
    home = pathlib.Path({home!r})
    model = xcnn.load(home / "golden-format-1.xcnn", backend="python")  # what is imported is imported now
    xcnn.io.load_config(home / "golden-config.json").layers[0].make()
    picture = io.BytesIO()
    from PIL import Image
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(picture, "PNG")
    decode_image(picture.getvalue())
    if {onnx!r}:
        model.to("numpy")
        xcnn.io.onnx.export(model, {onnx!r})
        xcnn.io.onnx.load({onnx!r}, backend="python")

    def hear(event, arguments):
        if event.startswith(NEVER):
            seen.append((event, str(arguments)[:80]))

    sys.addaudithook(hear)
    xcnn.load(home / "golden-format-1.xcnn", backend="python")
    xcnn.load(home / "golden-format-1-smooth.xcnn", backend="python")
    xcnn.io.load_config(home / "golden-config.json").layers[0].make()
    decode_image(picture.getvalue())
    if {onnx!r}:
        xcnn.io.onnx.load({onnx!r}, backend="python")
    assert seen == [], seen
    eval("1")  # the hook does hear
    assert seen
"""


def test_files_that_are_read_run_nothing_and_reach_nothing(tmp_path):
    pytest.importorskip("onnx", reason="ONNX files need onnx, which is not installed")
    python(AUDITED.format(home=str(ROOT / "tests" / "io"), onnx=str(tmp_path / "m.onnx")))

"""The notebooks run, and what they show where they are only read is what they compute."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from xcnn.backend import available_backends

ROOT = Path(__file__).parents[1]
PATHS = sorted((ROOT / "examples").glob("*.ipynb"))
LARGEST = 1.5e6  # bytes
TRACE = r"from the matrix +(\d+) / (\d+) = ([\d.]+)"


def read(path: Path) -> Any:
    """Return the notebook of the repository; a file that is none is refused."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def run(name: str, folder: Path, patch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Run examples/`name`.ipynb in `folder`; return it as it is in the repository, and as it comes out."""
    kept, fresh = read(ROOT / f"examples/{name}.ipynb"), read(ROOT / f"examples/{name}.ipynb")
    for cell in code(fresh):
        cell.outputs, cell.execution_count = [], None
    for variable in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):  # nobody's settings
        patch.setenv(variable, str(folder / variable))
    patch.delenv("XCNN_BACKEND", raising=False)
    patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "backends")]))
    patch.setenv("PYTHONWARNINGS", "default")  # a warning is then among the outputs
    patch.setenv("OMP_NUM_THREADS", "1")
    patch.setenv("OPENBLAS_NUM_THREADS", "1")
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(fresh, timeout=300, kernel_name="python3", resources=place).execute()
    return kept, fresh


def code(notebook: Any) -> list[Any]:
    """Return the cells with code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook: Any, stream: str = "stdout") -> str:
    """Return what the cells print."""
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    return "".join(output.text for output in outputs if output.get("name") == stream)


def shown(cell: Any) -> set[str]:
    """Return the kinds of what a cell leaves: text that it printed, pictures."""
    return {kind for output in cell.outputs for kind in output.get("data", {output.get("name"): None})}


def check(kept: Any, fresh: Any) -> None:
    """Refuse warnings, and outputs in the repository of other kinds than those that come out."""
    assert "Warning" not in printed(fresh, "stderr")
    differing = [
        a.source for a, b in zip(code(kept), code(fresh), strict=True) if shown(a) != shown(b) - {"stderr"}
    ]
    assert not differing


def test_cnn_from_the_ground_up_runs_and_reads_digits(tmp_path, monkeypatch):
    kept, fresh = run("cnn_from_the_ground_up", tmp_path, monkeypatch)
    check(kept, fresh)
    ((_, images, accuracy),) = re.findall(TRACE, printed(fresh))
    ((_, _, before),) = re.findall(TRACE, printed(kept))
    near = 0.005 if images == "10000" else 0.05  # without MNIST's files: of scikit-learn's digits
    assert float(accuracy) == pytest.approx(float(before), abs=near)


def test_one_code_runs_on_every_backend_that_is_here(tmp_path, monkeypatch):
    kept, fresh = run("one_code_every_backend", tmp_path, monkeypatch)
    check(kept, fresh)
    out = printed(fresh)
    (names,) = re.findall(r"^here: (.*)$", out, flags=re.MULTILINE)
    assert names.split() == available_backends()
    assert re.findall(r"^(\w+) +gradcheck", out, flags=re.MULTILINE) == names.split()


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebook_of_the_repository_is_whole_small_and_plain(path):
    notebook = read(path)
    assert [cell.execution_count for cell in code(notebook)] == [*range(1, len(code(notebook)) + 1)]
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not printed(notebook, "stderr")
    assert not re.findall(r"(?<![\w.])/(?:home|root|tmp|usr|work|Users)/\S*", printed(notebook))
    assert notebook.metadata.kernelspec.name == "python3"
    assert not [cell.id for cell in notebook.cells if cell.metadata]
    assert path.stat().st_size < LARGEST


def test_notebook_of_the_repository_reads_mnist_as_well_as_the_report():
    out = printed(read(ROOT / "examples/cnn_from_the_ground_up.ipynb"))
    ((trace, images, accuracy),) = map(lambda found: map(float, found), re.findall(TRACE, out))
    *_, right = map(float, re.findall(r"test +images: ([\d.]+)% right", out))
    assert images == 10_000  # all of MNIST's test images
    assert accuracy == pytest.approx(trace / images) == pytest.approx(right / 100)
    assert accuracy >= 0.97


def test_every_notebook_is_run_here():
    tested = set(re.findall(r'run\("(\w+)"', Path(__file__).read_text(encoding="utf-8")))
    assert tested == {path.stem for path in PATHS}

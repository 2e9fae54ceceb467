"""Each example runs, small, and prints what it is there to show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import xcnn
from xcnn.backend import available_backends

ROOT = Path(__file__).parents[1]


def run(folder: Path, example: str, *options: str) -> str:
    """Return what examples/`example`.py prints, run in `folder`; a warning is an error."""
    paths = (ROOT, ROOT / "backends", *sys.path)  # what these tests see, the example sees
    # One thread: those of several processes on few processors wait for each other.
    given = {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / f"{example}.py"), *options]
    done = subprocess.run(command, cwd=folder, env=os.environ | given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def need(name: str) -> None:
    """Skip, and say so, where a data set would have to be downloaded."""
    if xcnn.data.available()[name] is None:
        pytest.skip(f"{name} is neither in XCNN_DATA nor in the cache: its example is not run")


def numbers(pattern: str, text: str) -> list[float]:
    """Return what the group of `pattern` matches, wherever it does."""
    return [float(found) for found in re.findall(pattern, text)]


def test_digits_are_learned_saved_and_loaded(tmp_path):
    out = run(tmp_path, "digits", "--epochs", "3", "--images", "800")
    losses = numbers(r"epoch +\d+  loss ([\d.]+)", out)
    assert len(losses) == 3
    assert losses[-1] < 0.5 * losses[0]
    assert (tmp_path / "digits.xcnn").stat().st_size > 0
    assert "digits.xcnn gives the same answers: True" in out


def test_lenet5_begins_to_learn_mnist(tmp_path):
    need("mnist")
    out = run(tmp_path, "lenet5_mnist", "--epochs", "2", "--images", "1000")
    assert "61,706" in out
    (accuracy,) = numbers(r"\n +2 .* ([\d.]+)%", out)
    assert accuracy > 50


def test_resnet_runs_on_cifar10(tmp_path):
    need("cifar10")
    out = run(tmp_path, "resnet_cifar10", "--epochs", "1", "--images", "256", "--width", "4")
    assert "val_accuracy" in out
    assert len(numbers(r"recall ([\d.]+)%", out)) == 10


def test_own_layer_passes_gradcheck_and_learns_on_every_backend(tmp_path, backend):
    out = run(tmp_path, "own_layer", "--epochs", "3", "--backend", backend.name)
    (error,) = numbers(r"finite differences: (\S+)", out)
    (accuracy,) = numbers(r"'accuracy': ([\d.]+)", out)
    assert error < 1e-6
    assert accuracy > 0.8


def test_every_backend_is_in_the_table_and_agrees(tmp_path):
    out = run(tmp_path, "every_backend", "--images", "320")
    differences = dict(re.findall(r"largest difference of (\S+): (\S+)", out))
    assert differences.keys() >= {xcnn.get_backend(name).name for name in available_backends()}
    assert all(float(difference) < 1e-4 for difference in differences.values())


def test_show_gradients_agrees_with_a_difference(tmp_path):
    out = run(tmp_path, "show_gradients")
    for name in ("layers[0].w (2, 1, 3, 3)", "layers[0].b (2,)", "layers[4].w (2, 18)", "layers[4].b (2,)"):
        assert name in out
    (found,), (gradient,) = numbers(r"= (-?[\d.]+);", out), numbers(r"gradient is (-?[\d.]+)", out)
    assert found == pytest.approx(gradient, rel=1e-2, abs=1e-4)


def test_plain_python_learns_as_numpy_does(tmp_path):
    out = run(tmp_path, "pure_python", "--epochs", "8", "--images", "200")
    rows = re.findall(r"\n +\d+ +([\d.]+) +[\d.]+ s +([\d.]+) +[\d.]+ s", out)
    losses = [(float(a), float(b)) for a, b in rows]
    assert len(losses) == 8
    assert all(a == pytest.approx(b, abs=1e-5) for a, b in losses)
    assert losses[-1][0] < 0.5 * losses[0][0]
    (by_hand,), (by_layer,) = (
        numbers(r"bias -?[\d.]+: ([\d.]+)", out),
        numbers(r"the layer says ([\d.]+)", out),
    )
    assert by_hand == pytest.approx(by_layer, abs=1e-6)
    assert by_layer > 0


def test_every_example_is_run_here():
    tested = set(re.findall(r'run\(tmp_path, "(\w+)"', Path(__file__).read_text(encoding="utf-8")))
    assert tested == {path.stem for path in (ROOT / "examples").glob("*.py")}

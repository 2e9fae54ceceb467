"""What is installed: the wheel's contents, its metadata, and an import that stays light."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import xcnn

ROOT = Path(__file__).parents[2]
PACKAGES = {"xcnn", "xcnn_numpy", "xcnn_cupy", "xcnn_torch", "xcnn_strict", "xcnn_python"}
HEAVY = {
    "torch",
    "cupy",
    "array_api_strict",
    "sklearn",
    "scipy",
    "matplotlib",
    "typer",
    "rich",
    "pydantic",
    "onnx",
}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    (path,) = folder.iterdir()
    with zipfile.ZipFile(path) as opened:
        yield opened


def test_wheel_holds_the_framework_and_the_backends_and_nothing_else(wheel):
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_wheel_holds_every_file_of(package, wheel):
    source = ROOT / package if package == "xcnn" else ROOT / "backends" / package
    files = [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {path.relative_to(source.parent).as_posix() for path in files}
    assert f"{package}/py.typed" in expected
    held = {name for name in wheel.namelist() if name.startswith(f"{package}/")}
    assert {name for name in held if not name.startswith("xcnn/reproduce/examples/")} == expected


@pytest.mark.parametrize("room", ["configs", "reports"])
def test_wheel_holds_every_experiment(room, wheel):
    files = {path.name for path in (ROOT / "examples" / room).iterdir()}
    held = f"xcnn/reproduce/examples/{room}/"
    assert {name.removeprefix(held) for name in wheel.namelist() if name.startswith(held)} == files


def test_wheel_states_what_it_needs(wheel, project):
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    metadata = email.message_from_bytes(wheel.read(name))
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "BSD-3-Clause"
    extras = {"app", "draw", "browser", "cuda12", "cuda13", "torch", "onnx", "fuzz", "dev"}
    assert set(metadata.get_all("Provides-Extra")) == extras
    core = {line.partition(">")[0] for line in metadata.get_all("Requires-Dist") if "extra ==" not in line}
    assert core == {"numpy", "numba", "array-api-compat", "array-api-extra", "pydantic", "safetensors"}
    assert metadata["Version"] == project["version"]


def test_module_states_the_version_of_the_wheel(project):
    assert xcnn.__version__ == project["version"]


def test_wheel_installs_the_command(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith("/entry_points.txt"))
    text = wheel.read(name).decode()
    assert "xcnn = xcnn.cli:main" in text
    assert "xcnn.backends" not in text  # for third parties only


def test_development_does_not_fetch_torch(project):
    extras = project["optional-dependencies"]
    assert not [line for name in ("app", "dev") for line in extras[name] if line.startswith("torch")]


def _python(*arguments: str) -> str:
    """Run a fresh interpreter on this checkout and return what it prints."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("XCNN_", "COV_"))
    }
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout


def test_import_is_light():
    code = "import sys, xcnn; print(*{name.partition('.')[0] for name in sys.modules})"
    assert not HEAVY & set(_python("-c", code).split())


@pytest.mark.parametrize("package", sorted(PACKAGES - {"xcnn"}))
def test_backend_imports_without_its_library(package):
    code = f"import sys; sys.modules.update(cupy=None, torch=None, array_api_strict=None); import {package}"
    _python("-W", "error", "-c", code)

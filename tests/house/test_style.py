"""What a reader may rely on in every file: it is short, it names no backend, it never unpickles."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST = 300  # lines

PRODUCT = sorted(path for top in ("xcnn", "backends") for path in (ROOT / top).rglob("*.py"))
EVERYTHING = PRODUCT + sorted(
    path for top in ("tests", "examples", "bench") for path in (ROOT / top).rglob("*.py")
)
PICKLERS = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
PICKLED = ("tests/sklearn/test_classifier.py",)  # others pickle estimators: it must see that they come back


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))))


def _is_text(node: ast.AST) -> bool:
    """Whether `node` is a string, or a tuple, list or set of strings."""
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return bool(node.elts) and all(map(_is_text, node.elts))
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(node.value)


def _is_backend_name(node: ast.AST) -> bool:
    """Whether `node` reads ``backend``, ``backend.name``, ``get_backend().name`` or the like."""
    if isinstance(node, ast.Attribute) and node.attr in ("name", "root"):
        node = node.value
        node = node.func if isinstance(node, ast.Call) else node
    text = ast.unparse(node).rpartition(".")[2]
    return text in ("backend", "plugin", "get_backend", "backend_of", "plugin_of", "backend_name")


def _asks_for_a_backend(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        return any(map(_is_backend_name, sides)) and any(map(_is_text, sides))
    if isinstance(node, ast.Match):
        return _is_backend_name(node.subject)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("startswith", "endswith") and _is_backend_name(node.func.value)
    return False


@pytest.mark.parametrize("path", PRODUCT, ids=_name)
def test_file_is_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST, f"{_name(path)} has {lines} lines; needed at most {LONGEST}"


@pytest.mark.parametrize("path", [p for p in PRODUCT if p.is_relative_to(ROOT / "xcnn")], ids=_name)
def test_framework_asks_for_no_backend_by_name(path):
    wrong = [f"{node.lineno}: {ast.unparse(node)}" for node in _nodes(path) if _asks_for_a_backend(node)]
    assert not wrong, f"{_name(path)}: {wrong}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("backend == 'numpy'", True),
        ("model.backend.name != 'torch'", True),
        ("get_backend().name in ('numpy', 'torch')", True),
        ("plugin.root == 'cupy'", True),
        ("backend.name.startswith('torch')", True),
        ("backend.name == other.name", False),
        ("layer.name == 'first'", False),
        ("backend.host", False),
    ],
)
def test_a_question_for_a_backend_is_recognised(source, expected):
    assert any(map(_asks_for_a_backend, ast.walk(ast.parse(source)))) is expected


@pytest.mark.parametrize("path", [p for p in EVERYTHING if _name(p) not in PICKLED], ids=_name)
def test_nothing_is_pickled(path):
    wrong = []
    for node in _nodes(path):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            names = [] if ast.unparse(node.value) == "False" else ["pickle"]
        wrong += [f"line {node.lineno}" for name in names if name.partition(".")[0] in PICKLERS]
    assert not wrong, f"{_name(path)}: {wrong}"

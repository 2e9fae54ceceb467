"""The arrows of the house run one way: a module imports only from rooms below its own."""

from __future__ import annotations

import ast
import graphlib
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {"": ROOT / "xcnn"} | {path.name: path for path in sorted((ROOT / "backends").glob("xcnn_*"))}

# From the ground up: a module may import from lower rows, and from its own. A package stands for all in it.
FLOORS = (
    ("xcnn.types", "xcnn.errors"),
    (
        "xcnn.plugin",
        "xcnn.backend",
        "xcnn.files",
        "xcnn.lock",
        "xcnn.memory",
        "xcnn.passes",
        "xcnn.random",
        "xcnn.threads",
    ),
    ("xcnn.data",),
    ("xcnn.ops",),
    ("xcnn.initializers", "xcnn.state", "xcnn.layer", "xcnn.optimizer", "xcnn.schedule"),
    ("xcnn.build", "xcnn.layers"),
    ("xcnn.labels", "xcnn.losses", "xcnn.optim", "xcnn.schedules", "xcnn.metrics"),
    ("xcnn.plan", "xcnn.predict", "xcnn.summary", "xcnn.tree", "xcnn.model"),
    ("xcnn.calibration", "xcnn.diagnosis"),
    (
        "xcnn.training",
        "xcnn.callbacks",
        "xcnn.explain",
        "xcnn.gradcheck",
        "xcnn.io",
        "xcnn.plots",
        "xcnn.search",
    ),
    ("xcnn",),
    ("xcnn.draw", "xcnn.reproduce", "xcnn.sklearn"),
    ("xcnn.cli", "xcnn.__main__"),
)
RANK = {name: rank for rank, names in enumerate(FLOORS) for name in names}
BACKENDS_REACH = RANK["xcnn.layers"]  # a compiled run looks at layers; no backend needs more

# Imports that go up, inside a function or for a type checker only, and why.
UPWARD = {
    ("xcnn.layer", "xcnn.build"): "the type of `make`",
    ("xcnn.model", "xcnn.training"): "Model.fit and Model.evaluate are there for convenience",
    ("xcnn.model", "xcnn.io"): "so is Model.save",
    ("xcnn.model", "xcnn.explain"): "so is Model.explain",
    ("xcnn.layer", "xcnn.explain"): "so is Layer.explain",
}

CORE = {"numpy", "numba", "llvmlite"} | {
    "array_api_compat",
    "array_api_extra",
    "pydantic",
    "pydantic_core",
    "safetensors",
}
APP = {"sklearn", "markdown_it", "matplotlib", "PIL", "threadpoolctl", "typer", "rich"}
ONNX = {"onnx"}
DRAW = {"starlette", "uvicorn", "python_multipart", "anyio"}


class Import(NamedTuple):
    """One import: who, what, and whether it waits for a call or for a type checker."""

    importer: str
    imported: str
    deferred: bool
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def _modules() -> dict[str, Path]:
    """Return every module of xcnn and of the backends, by its import name."""
    found = {}
    for top in SOURCES.values():
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(top.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _dynamic(node: ast.Call) -> str | None:
    """Return the module that ``importlib.import_module("...")`` names, if `node` is that."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name not in ("import_module", "__import__") or not node.args:
        return None
    first = node.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def _imports(module: str, tree: ast.Module) -> list[Import]:
    found: list[Import] = []

    def visit(node: ast.AST, deferred: bool) -> None:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}:{node.lineno}: a relative import; needed an absolute one"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in names]
        elif isinstance(node, ast.Call) and (name := _dynamic(node)):
            names = [name]
        found.extend(Import(module, name, deferred, node.lineno) for name in dict.fromkeys(names))
        waits = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.body:
                visit(child, True)
            for child in node.orelse:
                visit(child, deferred)
            return
        for child in ast.iter_child_nodes(node):
            visit(child, deferred or waits)

    visit(tree, False)
    return found


IMPORTS = [
    found
    for module, path in MODULES.items()
    for found in _imports(module, ast.parse(path.read_text(encoding="utf-8"), str(path)))
]


def _rank(module: str) -> int:
    """Return the floor of `module`: that of the longest name in the table that contains it."""
    if module == "xcnn":
        return RANK[module]
    while module not in RANK or module == "xcnn":
        module, dot, _ = module.rpartition(".")
        if not dot:
            return -1
    return RANK[module]


def _top(module: str) -> str:
    return module.partition(".")[0]


def _listed(found: Import) -> tuple[str, str] | None:
    """Return the exception in UPWARD that covers `found`: of the module, or of a package that contains it."""
    for importer, imported in UPWARD:
        if found.deferred and found.importer == importer and f"{found.imported}.".startswith(f"{imported}."):
            return importer, imported
    return None


def test_every_module_has_a_floor():
    homeless = [name for name in MODULES if _top(name) == "xcnn" and _rank(name) < 0]
    assert not homeless, f"add them to FLOORS: {homeless}"


def test_no_floor_stands_empty():
    empty = [name for name in RANK if name not in MODULES]
    assert not empty, f"remove them from FLOORS: {empty}"


def test_imports_run_downward():
    wrong = [
        str(found)
        for found in IMPORTS
        if _top(found.importer) == _top(found.imported) == "xcnn"
        and _rank(found.imported) > _rank(found.importer)
        and not _listed(found)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_listed_exception_is_used():
    assert not set(UPWARD) - {_listed(found) for found in IMPORTS}


def test_no_module_imports_itself_in_a_circle():
    graph: dict[str, set[str]] = {}
    for found in IMPORTS:
        if found.imported in MODULES and not found.deferred:
            graph.setdefault(found.importer, set()).add(found.imported)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_xcnn_imports_no_array_library_and_no_backend():
    allowed = CORE | APP | DRAW | ONNX | {"xcnn"} | sys.stdlib_module_names
    wrong = [
        str(found)
        for found in IMPORTS
        if _top(found.importer) == "xcnn" and _top(found.imported) not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_command_line_and_deferred_imports_need_the_app_extra():
    wrong = [
        str(found)
        for found in IMPORTS
        if _top(found.imported) in APP
        and not found.deferred
        and not found.importer.startswith(("xcnn.cli", "xcnn.draw", "xcnn.plots", "xcnn.sklearn"))
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_drawing_pad_needs_the_draw_extra():
    wrong = [
        str(found)
        for found in IMPORTS
        if _top(found.imported) in DRAW and not found.importer.startswith("xcnn.draw")
    ]
    assert not wrong, "\n".join(wrong)


def test_only_its_own_room_imports_onnx_and_not_before_a_call():
    wrong = [
        str(found)
        for found in IMPORTS
        if _top(found.imported) in ONNX and not (found.deferred and found.importer.startswith("xcnn.io.onnx"))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", ["xcnn.ops", "xcnn.layers"])
def test_mathematics_imports_no_numpy(room):
    wrong = [
        str(found)
        for found in IMPORTS
        if found.importer.startswith(room) and _top(found.imported) in {"numpy", *APP}
    ]
    assert not wrong, "\n".join(wrong)


def test_backends_import_xcnn_and_not_one_another():
    wrong = []
    for found in IMPORTS:
        here, there = _top(found.importer), _top(found.imported)
        if here == "xcnn":
            continue
        other = there.startswith("xcnn_") and there != here
        if other or (there == "xcnn" and _rank(found.imported) > BACKENDS_REACH):
            wrong.append(str(found))
    assert not wrong, "\n".join(wrong)

"""ONNX's backend tests as the wheel ships them, and the table of those that xcnn has not."""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance.onnx_nodes import LAYOUT, OPERATORS, run
from xcnn.backend import Backend

__all__ = ["KINDS", "TABLE", "Case", "cases", "mismatch", "reason"]

KINDS = ("node", "pytorch-converted", "pytorch-operator")
TABLE: dict[str, Any] = json.loads((Path(__file__).parent / "onnx_cases.json").read_text())
_BY_OPERATOR = {name: why for why, names in TABLE["operators"].items() for name in names}
_BY_CASE = {name: why for why, names in TABLE["cases"].items() for name in names}


@dataclass(eq=False)
class Case:
    """A graph, its inputs and outputs, and the tolerances that ONNX gives it."""

    name: str
    model: Any
    data: list[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float

    @property
    def operators(self) -> list[str]:
        """The operators of its nodes, each once, in their order."""
        return list(dict.fromkeys(node.op_type for node in self.model.graph.node))

    @property
    def size(self) -> int:
        """The number of its inputs' elements."""
        return sum(np.size(a) for inputs, _ in self.data for a in inputs if not isinstance(a, list))

    @property
    def opset(self) -> int:
        """The version of ONNX's operators that it was written for."""
        return max((o.version for o in self.model.opset_import if not o.domain), default=0)


def _read(path: Path) -> Any:
    """Return the array of a file."""
    import onnx

    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def _from_files(folder: Path) -> tuple[Any, list[tuple[list[Any], list[Any]]]]:
    """Return the model in a folder and its sets of inputs and outputs."""
    import onnx

    sets = []
    for at in sorted(folder.glob("test_data_set_*")):
        counts = {name: len(list(at.glob(f"{name}_*.pb"))) for name in ("input", "output")}
        inputs, outputs = (
            [_read(at / f"{name}_{i}.pb") for i in range(count)] for name, count in counts.items()
        )
        sets.append((inputs, outputs))
    return onnx.load(folder / "model.onnx"), sets


@functools.cache
def cases() -> tuple[Case, ...]:
    """Return every case of the three kinds; ONNX makes those of nodes anew, in three seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ONNX's: overflows and casts that its cases mean
        return tuple(_load())


def _load() -> Iterator[Case]:
    from onnx.backend.test.loader import load_model_tests

    for kind in KINDS:
        for case in load_model_tests(kind=kind):
            model: Any = case.model
            data: Any = case.data_sets
            if model is None and case.model_dir is not None:
                model, data = _from_files(Path(case.model_dir))
            yield Case(f"{kind}/{case.name}", model, data, case.rtol, case.atol)


def reason(case: Case) -> str | None:
    """Return why xcnn has not this case, or None."""
    for name in case.operators:
        if name not in OPERATORS and name not in LAYOUT:
            return _BY_OPERATOR.get(name)
    if all(name in LAYOUT for name in case.operators):
        return "layout alone: no operator of xcnn"
    return _BY_CASE.get(case.name)


def mismatch(case: Case, backend: Backend) -> str | None:
    """Run a case and say where xcnn differs from ONNX: dtype, shape, or a value beyond its tolerances."""
    for inputs, wanted in case.data:
        found = [backend.to_numpy(y) for y in run(case.model.graph, case.opset, inputs, backend)]
        for y, w in zip(found, wanted, strict=True):
            w = np.asarray(w)
            if y.dtype != w.dtype or y.shape != w.shape:
                return f"{case.name}: {y.dtype} {y.shape}; needed {w.dtype} {w.shape}"
            if not np.allclose(y, w, rtol=case.rtol, atol=case.atol, equal_nan=True):
                far = np.max(np.abs(np.asarray(y, float) - np.asarray(w, float)))
                return f"{case.name}: differs by {far:.3g} (rtol {case.rtol}, atol {case.atol})"
    return None

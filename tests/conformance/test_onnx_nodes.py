"""ONNX's backend tests: every case whose operator and rank xcnn has gives what ONNX says it gives."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="ONNX's backend tests are in its wheel, which is not installed")

from tests.conformance.onnx_nodes import LAYOUT, OPERATORS, Lacking  # noqa: E402
from tests.conformance.onnx_suite import TABLE, Case, cases, mismatch, reason  # noqa: E402
from xcnn import ops  # noqa: E402
from xcnn.backend import Backend  # noqa: E402
from xcnn.errors import Error  # noqa: E402

WHOLE = os.environ.get("XCNN_TEST_WHOLE") == "1"

pytestmark = pytest.mark.skipif(
    not onnx.__version__.startswith(f"{TABLE['onnx']}."),
    reason=f"onnx_cases.json is the table of onnx {TABLE['onnx']}; {onnx.__version__} has other cases",
)


@pytest.fixture(scope="module")
def suite() -> tuple[Case, ...]:
    """Every case."""
    return cases()


def known(case: Case) -> bool:
    """Return whether every operator of the case is one of the interpreter's, and not all of them layout."""
    named = set(case.operators)
    return named <= {*OPERATORS, *LAYOUT} and bool(named & {*OPERATORS})


def large(case: Case, backend: Backend) -> bool:
    """Return whether a case is left to the whole run: 20,000 numbers and more, in pure Python's lists."""
    return backend.name == "python" and not WHOLE and case.size > 20_000


def outcome(case: Case, backend: Backend) -> str | None:
    """Return what is wrong with a case that should pass."""
    try:
        return mismatch(case, backend)
    except (Lacking, Error) as error:
        return f"{case.name}: refused: {error}"


def test_every_case_that_xcnn_has_gives_the_outputs_of_onnx(
    suite: tuple[Case, ...], backend: Backend, record_property: Any
) -> None:
    tried = [case for case in suite if reason(case) is None]
    later = [case for case in tried if large(case, backend)]
    wrong = [
        found for case in tried if known(case) and case not in later if (found := outcome(case, backend))
    ]
    assert not wrong, "\n".join(wrong)
    record_property(
        "conformance",
        f"onnx {onnx.__version__} on {backend.name}: {len(tried) - len(later)} of {len(suite)} cases pass, "
        f"{len(suite) - len(tried)} left out with their reasons (tests/conformance/onnx_cases.json), "
        f"{len(later)} left to XCNN_TEST_WHOLE=1",
    )


def test_every_other_case_is_listed_with_its_reason(suite: tuple[Case, ...]) -> None:
    unlisted = [f"{case.name} {case.operators}" for case in suite if reason(case) is None and not known(case)]
    assert not unlisted, f"neither run nor listed in onnx_cases.json: {unlisted}"


def test_the_table_lists_nothing_that_the_suite_or_xcnn_has_outgrown(suite: tuple[Case, ...]) -> None:
    lacking = [name for names in TABLE["operators"].values() for name in names]
    listed = [name for names in TABLE["cases"].values() for name in names]
    assert len(lacking) == len(set(lacking))
    assert len(listed) == len(set(listed))
    assert not set(lacking) & {*OPERATORS, *LAYOUT}
    assert set(lacking) <= {name for case in suite for name in case.operators}
    assert set(listed) <= {case.name for case in suite if known(case)}


def test_cases_left_out_are_refused_and_never_answered_wrongly(
    suite: tuple[Case, ...], backend: Backend
) -> None:
    answered = []
    for case in suite:
        if known(case) and reason(case) is not None and not large(case, backend):
            try:
                answered.append(mismatch(case, backend) or f"{case.name} passes: take it off onnx_cases.json")
            except (Lacking, Error):
                continue
    assert not answered, "\n".join(answered)


def test_the_number_of_passed_cases_only_grows(suite: tuple[Case, ...]) -> None:
    count = sum(reason(case) is None for case in suite)
    assert count >= TABLE["passed"], f"{count} cases are run, {TABLE['passed']} were; none may be lost"
    assert count == TABLE["passed"], f'{count} cases are run: write "passed": {count} into onnx_cases.json'


@pytest.mark.parametrize(
    "name", ["relu", "conv2d", "avg_pool2d", "cross_entropy", "batch_norm", "layer_norm"]
)
def test_an_op_that_is_off_by_one_percent_is_found_out(
    suite: tuple[Case, ...], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xcnn.backend import get_backend

    right = getattr(ops, name)

    def wrong(*arrays: Any, **options: Any) -> Any:
        y, saved = right(*arrays, **options)
        return ((y[0] * 1.01, *y[1:]) if isinstance(y, tuple) else y * 1.01), saved

    backend = get_backend("numpy")
    before = sum(outcome(case, backend) is not None for case in suite if reason(case) is None)
    monkeypatch.setattr(ops, name, wrong)
    after = sum(outcome(case, backend) is not None for case in suite if reason(case) is None)
    assert (before, after > 0) == (0, True)


def test_dtype_shape_and_value_are_all_compared() -> None:
    backend: Any = SimpleNamespace(xp=np, asarray=np.asarray, to_numpy=np.asarray)
    helper = onnx.helper
    info = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [info], [info])
    graph.output[0].name = "y"
    x = np.asarray([1.0, 2.0], np.float32)
    same = Case("g", helper.make_model(graph), [([x], [x])], 1e-3, 1e-7)
    assert mismatch(same, backend) is None
    for y in (x.astype(np.float64), x[None], x + np.float32(0.01)):
        same.data = [([x], [y])]
        assert mismatch(same, backend) is not None

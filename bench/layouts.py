"""Further ways to run an operation: kernels in a memory layout of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.cases import Case

__all__ = ["kernels"]

KERNELS = {"conv": "convolve", "conv dx": "convolve", "conv dw": "gather_images"}


def kernels(case: Case, /) -> dict[str, Callable[[], Any]] | None:
    """Return ways to run a case on arrays that are already in a layout of their own.

    Each becomes a column of `bench.ops`, beside xcnn's op from NCHW to NCHW and PyTorch.

    Parameters
    ----------
    case : Case
        Says ``op``, ``shape``, ``n`` and ``arrays``.

    Returns
    -------
    dict or None
        ``lanes``: the kernel alone, as it runs inside a compiled run, with images in the lanes of vectors.
    """
    from xcnn_numpy import has_numba

    if case.op not in KERNELS or not has_numba():
        return None
    from xcnn_numpy.operations import conv2d
    from xcnn_numpy.team import TEAM

    s, p = case.shape, (case.shape.padding,) * 2
    b = case.arrays.get("b")
    given = conv2d(
        case.arrays["x"], case.arrays["w"], b, stride=(s.stride,) * 2, padding=(p, p), groups=s.groups
    )
    if given is NotImplemented:
        return None
    y, (lease, _) = given
    program, kept = lease.workspace.program, [y, lease]
    if case.op != "conv":
        kept += lease.engine.backward(np.ones_like(y), lease, need_dx=True)
        program = lease.workspace.backwards[True]
    rows = [i for i, (name, *_) in enumerate(program.records) if name == KERNELS[case.op]]
    code = np.ascontiguousarray(program.code[rows])
    most = int(code[:, 2].max())

    def run(kept: Any = kept) -> None:  # what the program writes to must stay
        TEAM.run(code, most)

    return {"lanes": run}

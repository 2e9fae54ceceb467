"""How far a backend is from NumPy's float64: every op with its gradients, and nets in each precision."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

import xcnn
from bench import nets, ours
from bench.side import batch
from xcnn import ops

__all__ = [
    *("LIMITS", "NETS", "PRECISIONS", "cases", "difference", "differences", "failure", "net_difference"),
    *("summary", "table", "todo"),
]

LIMITS = {"float64": 1e-10, "float32": 1e-4}  # largest difference, relative to the largest number of an array
PRECISIONS = {
    "float32": (1e-4, 1e-4),
    "tf32": (1e-2, 0.2),
    "bfloat16": (5e-2, 0.5),
    "float16": (1e-2, 0.2),
}  # the same of nets, of logits and gradients: few images and batch norms between ReLUs magnify rounding
NETS = ("B", "LeNet-5", "vgg-small", "ResNet-20", "MobileNet-like")
N = 16  # images
BATCHES = (N, N - 1, N - 2)
MOST = 15  # lines of a summary
TRIES = 20  # steps of float16, which are skipped until its loss is scaled by little enough


class Case(NamedTuple):
    """One call of an op: what goes in, and which inputs have a gradient."""

    op: str
    arrays: tuple[Any, ...]
    options: Any = MappingProxyType({})
    given: int = 1  # of the first arrays


def cases() -> list[Case]:
    """Return a call of every op, some of several: even and odd channels, strides, padding and groups.

    Returns
    -------
    list of Case
        Of float64 arrays, the same ones every time.
    """
    rng = np.random.default_rng(0)

    def a(*shape: int) -> np.ndarray:
        return rng.normal(size=shape)

    x, z, labels = a(N, 8, 14, 14), a(N, 10), rng.integers(0, 10, N)
    conv = {"stride": (2, 1), "padding": ((1, 1), (0, 2)), "dilation": (1, 2)}
    same = {"padding": ((1, 1), (1, 1))}
    pool = {"size": (3, 2), "stride": (2, 2), "padding": ((1, 1), (0, 1))}
    w, b = rng.random(8) + 0.5, a(8)
    found = [
        *(
            Case(op, (x, a(16, 8, 3, 3), a(16)), same, 3)
            for op in ("conv2d", "conv2d_loops", "conv2d_indices")
        ),
        Case("conv2d", (a(N, 3, 15, 13), a(7, 3, 3, 2), None), conv, 2),
        Case("conv2d", (a(N, 1, 28, 28), a(6, 1, 5, 5), a(6)), {}, 3),
        Case("conv2d", (x, a(16, 2, 3, 3), a(16)), {"groups": 4, **same}, 3),
        Case("conv2d", (x, a(8, 1, 3, 3), None), {"groups": 8, **same}, 2),
        Case("true_conv2d", (x, a(16, 8, 3, 3), a(16)), same, 3),
        Case("conv_transpose2d", (x, a(8, 6, 3, 3), a(6)), {"stride": (2, 2), "output_padding": (1, 1)}, 3),
        Case("linear", (a(N, 100), a(30, 100), a(30)), {}, 3),
        *(Case(op, (x,), options) for op in ("max_pool2d", "avg_pool2d") for options in ({}, pool)),
        Case("batch_norm", (x, w, b), {}, 3),
        Case("batch_norm", (x, w, b, a(8), rng.random(8) + 0.5), {}, 3),
        Case("group_norm", (x, w, b), {"groups": 2}, 3),
        Case("layer_norm", (x, a(8, 14, 14), a(8, 14, 14)), {}, 3),
        Case("standardize", (x, a(8), rng.random(8) + 0.5)),
        Case("untied_bias", (x, a(8, 14, 14)), {}, 2),
        Case("zero_pad2d", (x,), {"padding": ((1, 2), (0, 1))}),
        Case("dropout", (x,), {"rate": 0.3, "seed": 5, "stream": (2, 1, 0)}),
        *(Case(op, (z,)) for op in ("softmax", "log_softmax")),
        Case("cross_entropy", (z, labels), {"label_smoothing": 0.1}),
        Case("cross_entropy_probabilities", (rng.dirichlet(np.ones(10), N), labels)),
        Case("binary_cross_entropy", (a(N), rng.integers(0, 2, N))),
        Case("binary_cross_entropy_probabilities", (0.1 + 0.8 * rng.random(N), rng.integers(0, 2, N))),
        *(Case(op, (z, a(N, 10)), {}, 1) for op in ("mse", "mae", "huber")),
    ]
    plain = ("relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "global_avg_pool2d")
    return [*found, *(Case(op, (x,)) for op in (*plain, "global_max_pool2d", "upsample2d"))]


def todo(names: Sequence[str] = (), /) -> list[tuple[str, Any, str]]:
    """Return what is to be held to NumPy.

    Parameters
    ----------
    names : sequence of str
        Of `nets.NETS`.

    Returns
    -------
    list of tuple
        What it is called; a case, or the name of a net; the dtype of a case, the precision of a net.
    """
    found: list[tuple[str, Any, str]] = [(case.op, case, dtype) for case in cases() for dtype in LIMITS]
    return [*found, *((f"net {name}", name, precision) for name in names for precision in PRECISIONS)]


def differences(backend: str, names: Sequence[str] = (), begin: int = 0, /) -> Iterator[dict[str, Any]]:
    """Give how far each case and net is from NumPy's readable pair in float64.

    Parameters
    ----------
    backend : str
        What is held to it.
    names : sequence of str
        Of `nets.NETS`.
    begin : int
        The first of `todo`.

    Yields
    ------
    dict
        ``op``, ``options``, ``dtype``, ``forward`` and ``backward`` (the largest difference, relative to the
        largest number of its array), ``fine``; or ``error``. It ends early where an error leaves the GPU of
        no more use to this process.
    """
    home = xcnn.get_backend(backend)
    for one in todo(names)[begin:]:
        _, what, how = one
        try:
            found = _of_net(backend, what, how) if isinstance(what, str) else _of_case(home, what, how)
        except Exception as error:  # the others are still of use
            traceback.print_exc()
            yield failure(one, error)
            try:
                home.synchronize()
            except Exception:
                return
        else:
            yield found


def failure(one: tuple[str, Any, str], error: Exception, /) -> dict[str, Any]:
    """Return the row of what failed.

    Parameters
    ----------
    one : tuple
        Of `todo`.
    error : Exception
        Why.

    Returns
    -------
    dict
        See `differences`.
    """
    name, what, how = one
    row = {"op": name, "options": "" if isinstance(what, str) else str(dict(what.options)), "dtype": how}
    told = " ".join(f"{type(error).__name__}: {error}".split())
    return row | {"error": told[:300], "fine": False}


def _of_net(backend: str, name: str, precision: str) -> dict[str, Any]:
    """Return what the first fine batch says: in one, rounding may turn a ReLU whose input is almost zero."""
    for count in BATCHES:
        row = net_difference(backend, name, precision, count)
        if row["fine"]:
            break
    return row


def _of_case(home: xcnn.Backend, case: Case, dtype: str) -> dict[str, Any]:
    own = [rounded(a, dtype) for a in case.arrays]
    with xcnn.readable():
        wanted = _results(case, [None if a is None else rounded(a, "float64") for a in own])
    with home.active():
        moved = [None if a is None else home.asarray(a) for a in own]
        got = [None if a is None else home.to_numpy(a) for a in _results(case, moved, home)]
    apart = [difference(g, w) for g, w in zip(got, wanted, strict=True) if w is not None]
    forward, backward = apart[0], max(apart[1:], default=0.0)
    row = {"op": case.op, "options": str(dict(case.options)), "dtype": dtype}
    row["fine"] = max(forward, backward) <= LIMITS[dtype]  # type: ignore[assignment]
    return row | {"forward": forward, "backward": backward}


def rounded(a: Any, dtype: str, /) -> Any:
    """Return a floating array in a dtype; labels and None stay."""
    return a.astype(dtype) if a is not None and a.dtype.kind == "f" else a


def _results(case: Case, arrays: list[Any], home: Any = None) -> list[Any]:
    """Return y and the gradients of the arrays that have one."""
    y, saved = getattr(ops, case.op)(*arrays, **case.options)
    y = y[0] if isinstance(y, tuple) else y
    dy = np.random.default_rng(1).normal(size=tuple(y.shape)).astype(str(y.dtype).rpartition(".")[2])
    gradients = saved.backward(dy if home is None else home.asarray(dy))
    return [y, *gradients[: case.given]]


def difference(got: Any, want: Any, /) -> float:
    """Return the largest difference, relative to the largest number wanted; infinity for NaN or a shape."""
    if got is None or got.shape != want.shape or not np.isfinite(got).all():
        return float("inf")
    largest = float(np.max(np.abs(want))) or 1.0
    return float(np.max(np.abs(got.astype("float64") - want))) / largest


def net_difference(backend: str, name: str, precision: str, count: int = N, /) -> dict[str, Any]:
    """Return how far a net's logits and gradient are from NumPy's in float64.

    Parameters
    ----------
    backend : str
        What is held to it.
    name : str
        Of `nets.NETS`.
    precision : str
        See `xcnn.Model`.
    count : int
        Images.

    Returns
    -------
    dict
        As of `differences`, the op being the net.
    """
    net = nets.NETS[name]
    x, y = batch(net, count)
    found = []
    for home, options in (("numpy", {"dtype": "float64"}), (backend, {"precision": precision})):
        model = xcnn.Model(ours.layers(net.parts), net.image, backend=home, **options)  # type: ignore[arg-type]
        trainer = xcnn.Trainer(model, optimizer=xcnn.optim.SGD(1.0), loss="cross_entropy")
        before = _weights(model)
        logits = model.predict(x, batch_size=count)
        for _ in range(TRIES):
            if not np.isnan(float(trainer.step(x, y))) and not np.array_equal(before, _weights(model)):
                break
        found.append((logits, before - _weights(model)))  # a step of rate 1 is the gradient
    (logits, gradient), (got, other) = found
    forward, backward = difference(got, logits), difference(other, gradient)
    row = {"op": f"net {name}", "options": "", "dtype": precision, "forward": forward, "backward": backward}
    limits = PRECISIONS[precision]
    return row | {"fine": forward <= limits[0] and backward <= limits[1]}


def _weights(model: xcnn.Model) -> np.ndarray:
    values = [model.backend.to_numpy(p.value).ravel() for p in model.parameters().values()]
    return np.concatenate(values).astype("float64")


def table(rows: list[dict[str, Any]], /) -> str:
    """Return the rows as text: of each op and dtype the largest difference, and all that is wrong.

    Parameters
    ----------
    rows : list of dict
        Of `differences`.

    Returns
    -------
    str
        A heading and a line for each.
    """
    lines = [f"{'op':36}{'dtype':10}{'forward':>10}{'backward':>10}"]
    for op, dtype in dict.fromkeys((row["op"], row["dtype"]) for row in rows):
        alike = [row for row in rows if (row["op"], row["dtype"]) == (op, dtype)]
        good = [row for row in alike if "error" not in row]
        largest = [
            f"{max(row[way] for row in good):10.1e}" if good else f"{'-':>10}"
            for way in ("forward", "backward")
        ]
        wrong = [row for row in alike if not row["fine"]]
        told = "; ".join(f"WRONG {row['options']} {row.get('error', '')}".strip() for row in wrong)
        lines.append(f"{op:36}{dtype:10}{''.join(largest)}  {told}".rstrip())
    return "\n".join(lines)


def summary(rows: list[dict[str, Any]], count: int, /) -> str:
    """Return how many are fine, and a line for each that is not.

    Parameters
    ----------
    rows : list of dict
        Of `differences`.
    count : int
        How many should be there.

    Returns
    -------
    str
        Some lines.
    """
    wrong = [row for row in rows if not row["fine"]]
    told = [
        f"WRONG {row['op']} {row['options']} {row['dtype']}: "
        + row.get("error", f"forward {row.get('forward')}, backward {row.get('backward')}")[:160]
        for row in wrong[:MOST]
    ]
    more = [f"... and {len(wrong) - MOST} more"] if len(wrong) > MOST else []
    return "\n".join([f"{len(rows) - len(wrong)} of {count} agree with NumPy's float64", *told, *more])

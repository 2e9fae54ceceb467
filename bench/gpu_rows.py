"""What is measured on a GPU: rows of a net, a batch and a precision."""

from __future__ import annotations

import gc
import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import xcnn
from bench import gpu_peer, nets, ours
from bench.gpu_clock import interleave
from bench.gpu_work import work
from bench.side import Side, check

__all__ = [
    *("ALL", "FIRST", "HEAD", "SLACK", "SMALL", "WORKS"),
    *("Row", "empty", "key", "measure", "merge", "rows", "schedule", "sides", "tune"),
]

ALL = nets.NETS | nets.LARGE
SMALL = ("A", "B", "C", "D", "E", "F", "LeNet-5")
BATCHES = (64, 512, 2048)
WORKS = ("step", "predict")
SLACK = {"float32": 10.0, "tf32": 300.0, "bfloat16": 5000.0, "float16": 1000.0}  # of `side.check`
WARM = 6  # steps: kernels are compiled, plans tried, the step recorded


class Row(NamedTuple):
    """What one line of the table is about."""

    net: str
    batch: int
    precision: str


HEAD = 2  # rows of which torch.compile, which takes long, is measured before other rows
FIRST = (  # those that the project is judged by, then one of each kind
    *(Row("B", 64, "float32"), Row("ResNet-18", 512, "bfloat16")),
    *(Row(name, 64, "float32") for name in SMALL if name != "B"),
    *(Row(name, 512, "bfloat16") for name in ("ResNet-20", "vgg-small", "wide", "MobileNet-like")),
    *(Row("ResNet-18", 512, precision) for precision in ("float32", "tf32", "float16")),
    *(Row("ResNet-20", 64, "float32"), Row("vgg-small", 64, "float32"), Row("B", 2048, "float32")),
    *(Row(name, 64, "tf32") for name in SMALL),
)


def rows(names: list[str], batches: list[int] | None, precisions: list[str] | None, /) -> list[Row]:
    """Return what to measure, the most telling first.

    Parameters
    ----------
    names : list of str
        Of `ALL`.
    batches : list of int or None
        None: `BATCHES`.
    precisions : list of str or None
        None: all, of the small nets float32 and tf32.

    Returns
    -------
    list of Row
        Each once.
    """
    every = list(SLACK)
    found = [
        Row(name, size, precision)
        for size in batches or BATCHES
        for name in names
        for precision in precisions or (every[:2] if name in SMALL else every)
    ]
    return [*[row for row in FIRST if row in found], *[row for row in found if row not in FIRST]]


def schedule(wanted: list[Row], kinds: tuple[str, ...], /) -> list[tuple[Row, tuple[str, ...]]]:
    """Return rows and the peers to measure with them: torch.compile by itself, as it takes long.

    Parameters
    ----------
    wanted : list of Row
        The most telling first.
    kinds : tuple of str
        Of `gpu_peer.KINDS`.

    Returns
    -------
    list of tuple
        In order.
    """
    fast = tuple(kind for kind in kinds if kind != "compile")
    first = [row for row in wanted if row in FIRST]
    rest = [row for row in wanted if row not in FIRST]
    found: list[tuple[Row, tuple[str, ...]]] = []
    for some, slow in ((first[:HEAD], first[:HEAD]), (first[HEAD:], first[HEAD:]), (rest, rest)):
        found += [(row, fast) for row in some]
        found += [(row, ("compile",)) for row in slow if "compile" in kinds]
    return found


def key(found: dict[str, Any], /) -> Row:
    """Return which row some figures are of.

    Parameters
    ----------
    found : dict
        Of `measure`.

    Returns
    -------
    Row
        Net, batch, precision.
    """
    return Row(*(found[name] for name in Row._fields))


def empty(row: Row, /) -> dict[str, Any]:
    """Return the figures of a row before anything is measured.

    Parameters
    ----------
    row : Row
        Which.

    Returns
    -------
    dict
        See `measure`.
    """
    lists: dict[str, Any] = {"failed": {}, "memory": {}, "launches": {}, "checked": []}
    return {**row._asdict(), **lists, "doing": "xcnn"}


def merge(found: dict[str, Any], other: dict[str, Any], /) -> dict[str, Any]:
    """Return figures with the ratio of torch.compile, which was measured against ours in another process.

    Parameters
    ----------
    found, other : dict
        Of `measure`, with and without the other peers.

    Returns
    -------
    dict
        The other's figures are kept as ``compile``.
    """
    found = found | {"compile": other, "failed": found["failed"] | other["failed"]}
    for work_kind in WORKS:
        if work_kind in found and work_kind in other:
            ratios = found[work_kind]["ratios"] | other[work_kind]["ratios"]
            best = {"best": min(ratio for side, ratio in ratios.items() if side != "best")} if ratios else {}
            found[work_kind] = found[work_kind] | {"ratios": ratios | best}
    return found


def sides(backend: str, /) -> Iterator[tuple[str, Any]]:
    """Give what is measured here, or fail.

    Parameters
    ----------
    backend : str
        Ours.

    Yields
    ------
    tuple
        ``"backend"`` and its name; ``"torch"`` and its version, None where it sees no GPU; ``"packages"``.
    """
    names = ("cupy", "cupy-cuda12x", "cupy-cuda13x", "nvidia-cudnn-frontend", "nvidia-cudnn-cu12")
    names = (*names, "nvidia-cudnn-cu13", "nvidia-cublas", "nvidia-cuda-nvrtc", "triton", "numpy", "torch")
    packages = {d.name: d.version for d in importlib.metadata.distributions() if d.name in names}
    yield "backend", xcnn.get_backend(backend).name
    yield "packages", packages
    yield "torch", packages.get("torch", "unknown") if gpu_peer.available() else None


def measure(
    row: Row, seconds: float, kinds: tuple[str, ...], peaks: dict[str, float | None], /, backend: str = "cupy"
) -> Iterator[dict[str, Any]]:
    """Give the figures of one row as they become known; what fails is said in them.

    Parameters
    ----------
    row : Row
        What to measure.
    seconds : float
        For each side, and each of `WORKS`.
    kinds : tuple of str
        Of `gpu_peer.KINDS`; empty without PyTorch.
    peaks : dict
        Of `gpu_work.peaks`.
    backend : str
        What runs our side.

    Yields
    ------
    dict
        ``net``, ``batch``, ``precision``, ``parameters``; by work and side the seconds of a call; ``images``
        per second; ``fractions`` of the peaks; ``ratios``: the peers' times over ours; ``launches``;
        ``memory``: bytes that a side took from the device; ``failed``: side to what it said; ``doing``: the
        side, work or count that comes next.
    """
    net, found = ALL[row.net], empty(row)
    built: dict[str, tuple[Side, Callable[[], None]]] = {}
    yield found
    _load(backend, kinds)
    for kind in ("xcnn", *kinds):
        found["doing"] = kind
        yield found
        try:
            _give_back(backend, kinds)
            before = xcnn.memory_info(backend).free
            side, wait = built[kind] = _build(net, row, kind, backend, built)
            for _ in range(WARM):
                side.step()
                side.predict()
            wait()
            found["memory"][kind] = max(before - xcnn.memory_info(backend).free, 0)
            if kind != "xcnn":
                check(net, built["xcnn"][0], side, slack=SLACK[row.precision])
                found["checked"].append(kind)
        except AssertionError as error:  # timed all the same, and marked
            found["failed"][kind] = "differs: " + " ".join(str(error).split())[:300]
        except Exception as error:  # a framework that is out of memory, or cannot do this
            built.pop(kind, None)
            found["failed"][kind] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            if kind == "xcnn":
                yield found
                return
    found["parameters"] = sum(w.size for w in built["xcnn"][0].weights)
    if kinds:
        gpu_peer.use(row.precision)
    for kind_of_work in WORKS:
        found["doing"] = kind_of_work
        yield found
        runs = {kind: (getattr(side, kind_of_work), wait) for kind, (side, wait) in built.items()}
        found[kind_of_work] = _figures(row, kind_of_work, interleave(runs, seconds), peaks)
    found["doing"] = "launches"  # last: who is watched is slow
    yield found
    for kind, (side, wait) in built.items():
        found["launches"][kind] = gpu_peer.launches(side.step, wait)
    yield found


def _build(
    net: nets.Net, row: Row, kind: str, backend: str, built: dict[str, Any]
) -> tuple[Side, Callable[[], None]]:
    if kind != "xcnn":
        return gpu_peer.build(net, row.batch, built["xcnn"][0].weights, kind, row.precision)
    home = xcnn.get_backend(backend)
    tune(home)
    return ours.build(net, row.batch, backend=home.name, precision=row.precision), home.synchronize


def tune(home: xcnn.Backend, /) -> None:
    """Let cuDNN's plans be timed, as PyTorch's are.

    Parameters
    ----------
    home : Backend
        Others than CuPy have none.
    """
    if home.root == "cupy":
        from xcnn_cupy import plans

        plans.autotune()


def _load(backend: str, kinds: tuple[str, ...]) -> None:
    """Take a step of a small net on each side: what libraries hold counts as nobody's memory."""
    row, built = Row("LeNet-5", 2, "float32"), dict[str, Any]()
    for kind in ("xcnn", "eager") if kinds else ("xcnn",):
        built[kind] = side, wait = _build(ALL[row.net], row, kind, backend, built)
        side.step()
        side.predict()
        wait()


def _figures(row: Row, kind: str, times: dict[str, float], peaks: dict[str, float | None]) -> dict[str, Any]:
    own = times["xcnn"]
    least = work(ALL[row.net], row.batch, row.precision, training=kind == "step")
    product, copied = peaks.get(row.precision), peaks.get("bytes")
    ratios = {side: seconds / own for side, seconds in times.items() if side != "xcnn"}
    return {
        "seconds": times,
        "images": row.batch / own,
        "fractions": {
            "product": least.flops / own / product if product else None,
            "memory": least.bytes / own / copied if copied else None,
        },
        "ratios": ratios | ({"best": min(ratios.values())} if ratios else {}),
    }


def _give_back(backend: str, kinds: tuple[str, ...]) -> None:
    """Let both frameworks return what they keep: the next side finds the memory as the last one did."""
    gc.collect()
    xcnn.free_memory(backend)
    if kinds:
        xcnn.free_memory(f"torch:{gpu_peer.DEVICE}")

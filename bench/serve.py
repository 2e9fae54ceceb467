"""``python -m bench.serve``: how long the drawing pad's server takes for a prediction, under load."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import xcnn
from bench import environment, load, ours, report
from bench.load import Request, Server
from bench.nets import NETS

__all__ = ["agree", "bodies", "digit", "everything", "launch", "model", "rows", "text"]

NET = "B"
HOVER = "/layers/0?at=0,12,12"  # what a pointer over a feature map asks for
HOVERS = 30.0  # times a second
LIBRARIES = ("starlette", "uvicorn", "httptools", "uvloop", "pillow")
LEGEND = """\
Milliseconds from a request to the end of its answer, as hey, a load tool on the same processors, saw them to
a tenth; clients keep their connections and ask at the same instants. CPU: the server's processor time for a
request, ms. hovering: one client more asks for an explanation 30 times a second, as a pointer over a map.
torch: the same prediction in a minimal server of Starlette and PyTorch, unchecked, one request after another.
*: other programs used more than a twentieth of a processor meanwhile."""
NOISE = 0.05


def digit() -> np.ndarray:
    """Return a picture (28, 28) of bytes that looks like a zero: a ring of about three pixels' width."""
    i, j = np.mgrid[:28, :28] - 13.5
    distance = np.abs(np.hypot(i / 1.3, j) - 6.0)
    ring: np.ndarray = np.rint(255.0 * np.clip(2.0 - distance, 0.0, 1.0)).astype(np.uint8)
    return ring


def model() -> xcnn.Model:
    """Return net B as it is before its training: how long it takes doesn't depend on its weights."""
    return xcnn.Model(ours.layers(NETS[NET].parts), input_shape=NETS[NET].image, seed=0, backend="numpy")


def bodies(folder: Path, /) -> dict[str, Request]:
    """Write the picture as clients may send it.

    Parameters
    ----------
    folder : Path
        Where.

    Returns
    -------
    dict
        ``PNG`` and ``JSON``, an array of bytes (28, 28), each to what is asked.
    """
    from PIL import Image

    picture, png, array = digit(), folder / "digit.png", folder / "digit.json"
    Image.fromarray(picture).save(png)
    array.write_text(json.dumps(picture.tolist()), encoding="ascii")
    return {
        "PNG": Request("/predict", "image/png", png),
        "JSON": Request("/predict", "application/json", array),
    }


def agree(server: Server, requests: Mapping[str, Request], expected: np.ndarray, /) -> None:
    """Fail unless a server gives the probabilities that the model gives.

    Parameters
    ----------
    server : Server
        Of either side.
    requests : mapping
        From `bodies`.
    expected : numpy.ndarray (K,)
        Probabilities of the picture.

    Raises
    ------
    AssertionError
        If they differ by more than float32 explains.
    """
    for name, request in requests.items():
        sent = urllib.request.Request(
            server.address + request.path, request.body.read_bytes(), {"Content-Type": request.kind}
        )
        with urllib.request.urlopen(sent, timeout=30) as answer:
            found = json.load(answer)["predictions"][0]["probabilities"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6, err_msg=name)


def launch(*paths: Path) -> list[str]:
    """Return the command that serves models.

    Parameters
    ----------
    *paths : Path
        Model files.

    Returns
    -------
    list of str
        As a user would type it.
    """
    return [sys.executable, "-m", "xcnn", "draw", *map(str, paths), "--port", "0", "--no-browser"]


def everything(given: Mapping[str, Any], /) -> dict[str, Any]:
    """Return all figures.

    Parameters
    ----------
    given : mapping
        ``seconds``, ``rate``, ``clients``, ``peer``.

    Returns
    -------
    dict
        ``machine``, ``threads``, ``net``, ``clients``, ``runs``: each a `load.Load`, and ``side``, ``body``,
        ``work`` and ``asked``, requests a second, or None for as many as are answered.
    """
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        net, requests = model(), bodies(Path(folder))
        net.save(Path(folder) / "b.xcnn")
        sides = {"xcnn": stack.enter_context(load.serving(launch(Path(folder) / "b.xcnn")))}
        if given["peer"]:
            weights = Path(folder) / "weights.npz"
            np.savez(weights, *(np.asarray(p.value) for p in net.parameters().values()))
            theirs = [sys.executable, "-m", "bench.serve_peer", NET, str(weights)]
            sides["torch"] = stack.enter_context(load.serving(theirs))
        expected = net.predict_proba(digit()[None, None])[0]
        for server in sides.values():
            agree(server, requests, expected)
        for body, work, side, asked in _plan(list(requests), list(sides), given["rate"]):
            print(f"measuring {side}, {body}, {work} ...", file=sys.stderr)
            beside = (requests[body]._replace(path=HOVER), HOVERS) if work == "hovering" else None
            options = {"clients": given["clients"], "rate": asked, "beside": beside}
            found = load.drive(sides[side], requests[body], given["seconds"], **options)
            for name, one in zip((work, "explanations"), found, strict=False):
                told = {"side": side, "body": body, "work": name}
                runs.append(told | {"asked": asked if name == work else HOVERS} | one._asdict())
    machine = report.machine()
    machine["versions"] |= {name: version(name) for name in LIBRARIES}
    work = {"net": NET, "clients": given["clients"], "runs": runs}
    return {"machine": machine, "threads": environment.processors()} | work


def _plan(
    bodies: Sequence[str], sides: Sequence[str], rate: float
) -> Iterator[tuple[str, str, str, float | None]]:
    """Yield body, work, side and requests a second: both sides one after the other, whatever is measured."""
    for body in bodies:
        yield from ((body, "paced", side, rate) for side in sides)
    yield bodies[0], "hovering", "xcnn", rate
    for body in bodies:
        yield from ((body, "flat out", side, None) for side in sides)


def rows(runs: Sequence[Mapping[str, Any]], /) -> list[tuple[str, ...]]:
    """Return the table's lines.

    Parameters
    ----------
    runs : sequence of mapping
        Of `everything`.

    Returns
    -------
    list of tuple of str
        The heading first. ``ratio`` is PyTorch's p99 over ours, or our rate over PyTorch's where the rate is
        what is measured.
    """
    heading = ("work", "body", "side", "asked/s", "requests", "failed", "rate/s")
    found = [(*heading, "p50", "p90", "p99", "max", "CPU", "ratio")]
    theirs = {(run["work"], run["body"]): run for run in runs if run["side"] == "torch"}
    for run in runs:
        star = "*" * bool(run["others"] is not None and run["others"] > NOISE)
        cells = [run["work"], run["body"], run["side"], f"{run['asked']:.0f}" if run["asked"] else "-"]
        cells += [f"{run['requests']:,}", str(run["failed"]), f"{run['rate']:.1f}"]
        cells += [f"{run[name]:.1f}" for name in ("p50", "p90", "p99")]
        cells += [f"{run['most']:.1f}{star}", "-" if run["server"] is None else f"{run['server']:.2f}"]
        other = theirs.get((run["work"], run["body"]))
        if other is None or other is run:
            cells.append("-")
        else:
            ratio = other["p99"] / run["p99"] if run["asked"] else run["rate"] / other["rate"]
            cells.append(f"{ratio:.2f}x")
        found.append(tuple(cells))
    return found


def text(found: Mapping[str, Any], /) -> str:
    """Return the machine and the table.

    Parameters
    ----------
    found : mapping
        From `everything`.

    Returns
    -------
    str
        To be printed.
    """
    sent = f"POST /predict, one picture of 28 x 28 pixels, net {found['net']}, {found['clients']} clients."
    return f"{report.heading(found)}\n{sent}\n{LEGEND}\n\n{report.align(rows(found['runs']), {7: 'ms'})}"


def main() -> None:
    """Measure, print the table, write the figures."""
    parser = argparse.ArgumentParser(
        "python -m bench.serve", description="The drawing pad's server, under load."
    )
    add = parser.add_argument
    add("--seconds", type=float, default=30.0, help="for each line of the table (%(default)s)")
    add("--rate", type=float, default=200.0, help="requests a second of all clients (%(default)s)")
    add("--clients", type=int, default=8, help="how many ask at once (%(default)s)")
    add("--no-peer", dest="peer", action="store_false", help="not beside PyTorch")
    add("--json", type=Path, metavar="FILE", help="where to write the figures")
    options = parser.parse_args()
    for name in ("seconds", "rate", "clients"):
        if getattr(options, name) <= 0:
            parser.error(f"--{name} is {getattr(options, name):g}; needed a positive number")
    load.hey()
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"--json {options.json}: there is no folder {options.json.parent}")
    if environment.PIN in os.environ:
        pinned = f"{environment.PIN}={os.environ.pop(environment.PIN)}"
        print(f"{pinned} is unset for this run: BLAS picks its kernels itself", flush=True)
    if options.peer and importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: xcnn is measured alone (pip install torch)", flush=True)
        options.peer = False
    given = {name: getattr(options, name) for name in ("seconds", "rate", "clients", "peer")}
    found = everything(given)
    print(text(found), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

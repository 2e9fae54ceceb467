"""Requests by the thousand, from hey, a load tool: what a server takes to answer them."""

from __future__ import annotations

import csv
import io
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from bench.clock import busy
from bench.environment import PIN

__all__ = ["Load", "Request", "Server", "command", "drive", "hey", "read", "serving"]

START = 60.0  # seconds that a server may take until it says where it listens
WARM = 400  # requests before those that are measured
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


class Request(NamedTuple):
    """What is asked, again and again.

    Attributes
    ----------
    path : str
        With its query.
    kind : str
        Content type.
    body : Path
        File that is sent.
    """

    path: str
    kind: str
    body: Path


class Load(NamedTuple):
    """How a server bore a number of requests.

    Attributes
    ----------
    requests : int
        Sent.
    failed : int
        Without an answer, or with another one than 200.
    rate : float
        Answers in a second.
    p50, p90, p99, most : float
        Milliseconds from a request to the end of its answer; hey tells tenths of them.
    server : float or None
        Milliseconds of processor time that the server took for a request, if nothing else was sent.
    others : float or None
        Share of one processor that worked for neither the server nor hey meanwhile.
    """

    requests: int
    failed: int
    rate: float
    p50: float
    p90: float
    p99: float
    most: float
    server: float | None = None
    others: float | None = None


class Server(NamedTuple):
    """A server in a process of its own.

    Attributes
    ----------
    address : str
        Such as http://127.0.0.1:8000.
    process : int
        Its number.
    """

    address: str
    process: int


def hey() -> str:
    """Return where hey is, or end this process and say how to get it."""
    found = shutil.which("hey")
    if found is None:
        sys.exit("hey, the load tool, is not installed: apt-get install hey, or github.com/rakyll/hey")
    return found


def command(address: str, request: Request, requests: int, clients: int, rate: float | None, /) -> list[str]:
    """Return the call of hey.

    Parameters
    ----------
    address : str
        Of the server.
    request : Request
        What is sent.
    requests : int
        How often, a multiple of `clients`: hey rounds down.
    clients : int
        Each with one connection that is kept; they begin, and with a rate go on, all at once.
    rate : float or None
        Requests a second of all clients; None: each sends the next when it has the answer to the last.

    Returns
    -------
    list of str
        For a new process.
    """
    pace = [] if rate is None else ["-q", f"{rate / clients:g}"]
    sent = ["-m", "POST", "-T", request.kind, "-D", str(request.body)]
    return [hey(), "-n", str(requests), "-c", str(clients), *pace, *sent, "-o", "csv", address + request.path]


def read(text: str, requests: int, /) -> Load:
    """Return what hey's table says.

    Parameters
    ----------
    text : str
        A heading, then a line for each answer; a request without an answer has none.
    requests : int
        How many were sent.

    Returns
    -------
    Load
        A percentile is one of the times: the first that as many do not exceed.

    Raises
    ------
    ValueError
        If no answer is told.
    """
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows:
        msg = f"hey tells of no answer to {requests} requests"
        raise ValueError(msg)
    took = np.asarray([float(row["response-time"]) for row in rows])
    began = np.asarray([float(row["offset"]) for row in rows])
    good = sum(row["status-code"] == "200" for row in rows)
    p50, p90, p99 = (1e3 * float(np.percentile(took, q, method="inverted_cdf")) for q in (50, 90, 99))
    rate = len(rows) / float(np.max(began + took) - np.min(began))
    return Load(requests, requests - good, rate, p50, p90, p99, 1e3 * float(np.max(took)))


def drive(
    server: Server,
    request: Request,
    seconds: float,
    /,
    *,
    clients: int,
    rate: float | None,
    beside: tuple[Request, float] | None = None,
) -> list[Load]:
    """Send requests for some seconds, after some that don't count.

    Parameters
    ----------
    server : Server
        It runs on this machine, and shares its processors with hey.
    request : Request
        What is sent.
    seconds : float
        How long, about.
    clients : int
        How many send at once.
    rate : float or None
        Requests a second of all clients; None: as many as are answered.
    beside : (Request, float), optional
        What one more client sends at the same time, and how often in a second.

    Returns
    -------
    list of Load
        Of the requests, and of those beside them.
    """
    _run(command(server.address, request, WARM, clients, None))
    if rate is None:
        trial = read(_run(command(server.address, request, WARM, clients, None)), WARM)
        count = _multiple(trial.rate * seconds, clients)
    else:
        count = _multiple(rate * seconds, clients)
    also = max(1, round(beside[1] * seconds)) if beside else 0
    whole, own, its, begin = busy(), _own(), _spent(server.process), time.perf_counter()
    with _started(command(server.address, beside[0], also, 1, beside[1]) if beside else None) as other:
        found = read(_run(command(server.address, request, count, clients, rate)), count)
        second = [read(other.communicate()[0], also)] if other else []
    took, spent, after = time.perf_counter() - begin, _spent(server.process), busy()
    if whole is not None and after is not None and its is not None and spent is not None:
        others = max(0.0, (after - whole) - (_own() - own) - (spent - its)) / took
        each = None if beside else 1e3 * (spent - its) / count
        found = found._replace(others=others, server=each)
    return [found, *second]


def _multiple(requests: float, clients: int) -> int:
    return max(1, round(requests / clients)) * clients


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def _started(command: Sequence[str] | None) -> Iterator[subprocess.Popen[str] | None]:
    if command is None:
        yield None
        return
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process


def _own() -> float:
    """Return the processor seconds of this process and of those that it started and that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _spent(process: int) -> float | None:
    """Return the processor seconds of a process that runs, or None where the system does not tell."""
    try:
        line = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    user, system = line.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(command: Sequence[str], /, **environment: str) -> Iterator[Server]:
    """Start a server, and end it.

    Parameters
    ----------
    command : sequence of str
        It prints where it listens, on 127.0.0.1.
    **environment : str
        Further variables.

    Yields
    ------
    Server
        When it has said so.

    Raises
    ------
    RuntimeError
        If it ends before, or says nothing for a minute.
    """
    kept = {name: value for name, value in os.environ.items() if name != PIN} | environment
    kept["PYTHONUNBUFFERED"] = "1"
    process = subprocess.Popen(command, env=kept, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said: list[str] = []
    reader = threading.Thread(target=_listen, args=(process.stdout, said), daemon=True)
    reader.start()
    try:
        yield Server(_address(process, reader, said), process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        process.stdout.close()


def _listen(stream: IO[str], said: list[str]) -> None:
    """Keep what a process says, so that it never waits to say more."""
    for line in stream:
        said.append(line)


def _address(process: subprocess.Popen[str], reader: threading.Thread, said: list[str]) -> str:
    end = time.monotonic() + START
    alive = True
    while alive and time.monotonic() < end:
        alive = reader.is_alive()  # what it said last is looked at, too
        if found := ADDRESS.search("".join(said)):
            return found[0]
        time.sleep(0.02)
    msg = f"{' '.join(process.args)}: did not say where it listens; it said {''.join(said)!r}"  # type: ignore[arg-type]
    raise RuntimeError(msg)

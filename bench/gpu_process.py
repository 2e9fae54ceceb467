"""Work in a process of its own: what crashes or hangs there costs nothing else."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

__all__ = ["Lost", "ask"]

DUMP = 2.0  # seconds before its end at which a process says where it hangs


class Lost(RuntimeError):
    """Work that failed, died, or took too long; what it gave before is there."""


def ask(
    work: Callable[..., Iterable[Any]], /, *given: Any, seconds: float, log: Path | None = None
) -> Iterator[Any]:
    """Yield what `work` gives in a new process, each as soon as it is there.

    Parameters
    ----------
    work : callable
        Of a module; what it gives can be pickled.
    *given : object
        Its arguments.
    seconds : float
        After so many the process is ended.
    log : Path, optional
        Where what it prints is added; by default it is printed.

    Yields
    ------
    object
        A copy of what was given.

    Raises
    ------
    Lost
        If the work could not be ended.
    """
    context = multiprocessing.get_context("spawn")  # CUDA bears no fork
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, work, given, seconds, log))
    process.start()
    sender.close()
    end = time.monotonic() + seconds
    try:
        while receiver.poll(max(end - time.monotonic(), 0)):
            word, value = receiver.recv()
            if word == "done":
                return
            if word == "failed":
                raise Lost(value)
            yield value
        raise Lost(f"not done after {seconds:.0f} s")
    except EOFError:
        process.join(10)
        code = process.exitcode
        why = signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"
        raise Lost(f"its process died of {why}") from None
    finally:  # also where it is done: frameworks may hang in their own ends
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)  # with its compilers
        process.kill()
        process.join(10)
        receiver.close()


def _work(
    sender: Connection, work: Callable[..., Iterable[Any]], given: tuple[Any, ...], seconds: float, log: Any
) -> None:
    """Send what the work gives, and how it ended."""
    os.setpgid(0, 0)  # Ctrl-C is for who asked
    if log is not None:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
    faulthandler.enable()
    faulthandler.dump_traceback_later(max(seconds - DUMP, 0.1))
    try:
        for value in work(*given):
            sender.send(("value", value))
        sender.send(("done", None))
    except BaseException as error:
        traceback.print_exc()
        sender.send(("failed", f"{type(error).__name__}: {' '.join(str(error).split())}"))

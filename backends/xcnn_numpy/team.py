"""The threads that share the parts of a kernel, without ever waiting for one that the system has put aside.

A kernel's parts are claimed, not assigned: the calling thread takes part 0 and whatever nobody else has
begun, and waits only for parts that another thread is at. On a busy machine a program so costs what one
thread needs, where barriers would cost a time slice of the system, hundreds of times as much, a kernel.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable

from xcnn_numpy.atomic import (
    fetch_add,
    flush_denormals,
    get,
    processor,
    put,
    relax,
    restore,
    swap,
    yield_processor,
)
from xcnn_numpy.compiler import call, compiled_function

__all__ = ["TEAM", "compile_team"]

# The words that threads share: each on a cache line of its own.
EPOCH, LAST, ADDRESS, ARGUMENTS, PARTS, PLACE, DONE, CLAIMS = 0, 8, 9, 10, 11, 12, 16, 24
NONE = 0  # the epoch between kernels
MOST = 256  # parts
SPINS = 2_000  # looks at a word (some 25 microseconds) before the processor is offered to others
PATIENCE = 5_000  # looks (about a millisecond) before a thread without work goes to sleep

WORDS = types.Array(types.int64, 1, "C")
ROWS = types.Array(types.int64, 2, "C")


@register_jitable
def _take_parts(words, epoch, first):
    """Do all parts of kernel number `epoch` that nobody has claimed, beginning with part `first`."""
    address, arguments, parts = get(words, ADDRESS), get(words, ARGUMENTS), get(words, PARTS)
    for k in range(parts):
        part = (first + k) % parts
        before = get(words, CLAIMS + part)
        while before < epoch:  # claims only grow: a thread that comes late takes nothing away
            if swap(words, CLAIMS + part, before, epoch):
                if get(words, EPOCH) == epoch:  # else what was read above belongs to another kernel
                    call(address, (arguments, part, parts))
                    fetch_add(words, DONE, 1)
                break
            before = get(words, CLAIMS + part)


def _lead(code, words, alone):
    """Run the rows (address, arguments, parts) of `code` in turn."""
    mode = flush_denormals()
    epoch = words[LAST]
    if not alone:
        put(words, PLACE, processor())
    for i in range(code.shape[0]):
        parts = code[i, 2]
        if parts == 1 or alone:
            for part in range(parts):
                call(code[i, 0], (code[i, 1], part, parts))
            continue
        put(words, ADDRESS, code[i, 0])
        put(words, ARGUMENTS, code[i, 1])
        put(words, PARTS, parts)
        aim = get(words, DONE) + parts
        epoch += 1
        put(words, EPOCH, epoch)
        _take_parts(words, epoch, 0)
        looks = 0
        while get(words, DONE) < aim:
            looks += 1
            if looks < SPINS:
                relax()
            else:
                yield_processor()
        put(words, EPOCH, NONE)  # before anything is written for the next one
    if not alone:
        words[LAST] = epoch
    restore(mode)


def _follow(words, number):
    """Help with kernels until there have been none for a while; return whether on the leader's processor."""
    mode = flush_denormals()
    seen = NONE
    looks = 0
    while looks < PATIENCE:
        epoch = get(words, EPOCH)
        if epoch != NONE and epoch != seen:
            seen = epoch
            looks = 0
            if processor() == get(words, PLACE) >= 0:
                restore(mode)
                return True
            _take_parts(words, epoch, number)
        else:
            looks += 1
            if looks < SPINS:
                relax()
            else:
                yield_processor()
    restore(mode)
    return False


def compile_team() -> tuple[Any, Any]:
    """Return the compiled functions of the leading thread, and of those that help."""
    lead = compiled_function(_lead, types.void(ROWS, WORDS, types.boolean))
    return lead, compiled_function(_follow, types.boolean(WORDS, types.int64))


class Team:
    """The calling thread and those that help it; one program at a time has them, others run alone."""

    def __init__(self) -> None:
        self.words = np.zeros(CLAIMS + MOST, np.int64)
        self.taken = threading.Lock()
        self.helpers: list[_Helper] = []
        self.processors = os.cpu_count() or 1
        self._lead: Any = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """Start anew in a forked child, where no threads are but one."""
        self.words = np.zeros(CLAIMS + MOST, np.int64)
        self.taken = threading.Lock()
        self.helpers = []

    def run(self, code: np.ndarray, most: int, /) -> None:
        """Run the rows of a program whose kernels have `most` parts at most."""
        if self._lead is None:
            self._lead = compile_team()[0]
        taken = most > 1 and self.taken.acquire(blocking=False)
        try:
            if taken:
                self._wake(min(most, self.processors) - 1)
            self._lead(code, self.words, not taken)
        finally:
            if taken:
                self.taken.release()

    def _wake(self, helpers: int) -> None:
        """See to it that so many threads help, or as many as the system allows."""
        while len(self.helpers) < helpers:
            helper = _Helper(self.words, len(self.helpers) + 1)
            try:
                helper.start()
            except RuntimeError:
                break
            self.helpers.append(helper)
        for helper in self.helpers[:helpers]:
            helper.wake()


class _Helper(threading.Thread):
    """A thread that helps, and sleeps when there is nothing to do."""

    def __init__(self, words: np.ndarray, number: int) -> None:
        super().__init__(name=f"xcnn-{number}", daemon=True)
        self.words, self.number = words, number
        self.asleep = False
        self.bed = threading.Lock()  # held but for the moment of waking
        self.bed.acquire()

    def wake(self) -> None:
        """Let it help again."""
        if self.asleep:
            self.asleep = False
            self.bed.release()

    def run(self) -> None:
        """Help for ever."""
        follow = compile_team()[1]
        while True:
            while follow(self.words, self.number):
                _leave(int(self.words[PLACE]))
            self.asleep = True
            self.bed.acquire()  # until the team wants it again


def _leave(place: int) -> None:
    """Move this thread off a processor: a system may leave two busy threads on one, with another one idle."""
    others = os.sched_getaffinity(os.getpid()) - {place}
    os.sched_setaffinity(0, others or {place})


TEAM = Team()

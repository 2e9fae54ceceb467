"""Trials on several processes at once, or in this one."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence

from xcnn.search.trial import Images, Job, Trial, run_trial
from xcnn.search.worker import Worker, WorkerCrashed
from xcnn.threads import get_num_threads, set_num_threads

__all__ = ["cores", "run_all"]


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(
    indices: Sequence[int], job_of: Callable[[int], Job], images: Images, /, *, workers: int, threads: int
) -> Generator[Trial]:
    """Yield trials as they end.

    Parameters
    ----------
    indices : sequence of int
        Of the points, in the order in which they are begun.
    job_of : callable
        Called as a trial begins.
    images : Images
        Of this process.
    workers : int
        Trials at once; a single one runs in this process.
    threads : int
        Of each.

    Yields
    ------
    Trial
        One for each index.

    Raises
    ------
    Error
        If a process does not come up.
    """
    if workers == 1:
        with _threads(threads):
            for index in indices:
                yield run_trial(job_of(index), images)
        return
    with contextlib.closing(_Pool(indices, job_of, workers, threads)) as pool:
        for _ in indices:
            yield pool.next()


@contextlib.contextmanager
def _threads(n: int) -> Iterator[None]:
    """Let kernels, and BLAS where threadpoolctl can tell it, use n threads."""
    before = get_num_threads()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError):
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(n))
        stack.callback(set_num_threads, before)
        set_num_threads(n)
        yield


class _Pool:
    """Processes, each served by a thread of ours that waits for its answers.

    Parameters
    ----------
    indices, job_of, workers, threads
        See `run_all`.
    """

    def __init__(
        self, indices: Sequence[int], job_of: Callable[[int], Job], workers: int, threads: int
    ) -> None:
        self._waiting, self._job_of, self._threads_each = iter(indices), job_of, threads
        self._trials: queue.SimpleQueue[Trial | Exception] = queue.SimpleQueue()
        self._lock, self._closed = threading.Lock(), False
        self._workers: set[Worker] = set()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def next(self) -> Trial:
        """Return the trial that ends next."""
        trial = self._trials.get()
        if isinstance(trial, Exception):
            raise trial
        return trial

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.kill()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        """Keep one process at work; one that crashes is replaced."""
        worker = None
        try:
            while (index := self._take()) is not None:
                worker = worker or self._open()
                job = self._job_of(index)
                try:
                    self._trials.put(worker.run(job))
                except WorkerCrashed as error:
                    self._trials.put(Trial(index, job.point, error=f"crashed: {error}"))
                    self._end(worker)
                    worker = None
        except Exception as error:
            self._trials.put(error)
        finally:
            if worker is not None:
                self._end(worker)

    def _take(self) -> int | None:
        """Return the next index, or None when there is nothing more to do."""
        with self._lock:
            return None if self._closed else next(self._waiting, None)

    def _open(self) -> Worker:
        with self._lock:
            worker = Worker(self._threads_each)
            self._workers.add(worker)
            if self._closed:
                worker.kill()
            return worker

    def _end(self, worker: Worker) -> None:
        with self._lock:
            self._workers.discard(worker)
        worker.close()

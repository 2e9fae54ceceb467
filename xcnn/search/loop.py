"""The search: trials, the best of them, and what is left of them on the disk."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from xcnn.backend import get_backend
from xcnn.errors import BackendError
from xcnn.io.config import RunConfig
from xcnn.layers import Dense
from xcnn.layers.geometry import integer
from xcnn.model import Model
from xcnn.search.plan import Plan, make_plan
from xcnn.search.pool import cores, run_all
from xcnn.search.progress import Progress
from xcnn.search.record import Record, open_record
from xcnn.search.result import SearchResult
from xcnn.search.trial import Images, Job
from xcnn.threads import get_num_threads

__all__ = ["search"]


def search(
    config: RunConfig | Mapping[str, Any],
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
    /,
    *,
    folder: str | Path | None = None,
    workers: int | None = None,
    threads: int | None = None,
    monitor: str | None = None,
    progress: bool | None = None,
) -> SearchResult:
    """Train a model for each point of a grid, and keep the one that is best in validation.

    Every configuration is checked before the first is trained. A trial that fails is recorded with its error,
    and the others go on; a folder that cannot be written ends the search. Where the configuration holds out
    no images to validate on, a tenth of the training images is; test images are never looked at.

    Parameters
    ----------
    config : RunConfig or dict
        The run of which something is varied.
    grid : dict or list
        Path to values, ``{"optimizer.lr": [1e-3, 1e-2], "layers[0].filters": [4, 8]}``, or the points
        themselves, ``[{"optimizer.lr": 1e-3}, ...]``.
    folder : str or Path, optional
        Where trials are recorded as they end, and the best model is kept, in ``best``. With that of the same
        search it goes on where that ended; trials that failed are tried again. By default nothing stays on
        the disk.
    workers : int, optional
        Trials at once, each in a process of its own; by default as many as the cores have room for, on a
        device one. One runs in this process. Results do not depend on it.
    threads : int, optional
        Of each trial: last digits of results may depend on it. By default the cores are divided among as many
        trials as there are, at most one trial to a core. A search that goes on keeps to what it began with.
    monitor : str, optional
        The measure that chooses, at its best epoch: by default "val_accuracy", or whatever comes first in the
        configuration's metrics; "val_loss" too. Of equal ones the first is taken, epoch and trial.
    progress : bool, optional
        Whether to show it; by default on a terminal.

    Returns
    -------
    SearchResult
        Trials in the order of the points, and the best model. After Ctrl-C, what had ended by then.

    Raises
    ------
    ConfigError
        If some point gives no valid configuration: one line for each thing that is wrong.
    OptionError
        If grid, measure, workers or threads are none.
    FileError
        If the folder holds something else, even another search, cannot be written, or a search is writing to
        it; if the images cannot be read.
    """
    plan = make_plan(config, grid, monitor)
    workers = None if workers is None else integer(workers, "search: workers")
    threads = _share(plan) if threads is None else integer(threads, "search: threads")
    images = Images()
    images.of(plan.configs[0])  # fails once, not in each trial; what is missing is downloaded once
    with contextlib.ExitStack() as stack:
        room = Path(folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="xcnn-search-")))
        record = stack.enter_context(open_record(room, plan, threads))
        interrupted = False
        try:
            _go_on(record, images, workers, progress)
        except KeyboardInterrupt:
            interrupted = True
        where = None if folder is None else room
        return SearchResult(
            plan.config, plan.points, plan.monitor, record.trials, record.model(), interrupted, where
        )


def _share(plan: Plan) -> int:
    """Return how many threads each trial gets, however many run at once."""
    host = get_backend(plan.config.backend).host
    at_once = min(len(plan.points), cores()) if host else 1
    return max(1, min(get_num_threads(), cores() // at_once))


def _go_on(record: Record, images: Images, workers: int | None, progress: bool | None) -> None:
    """Run the trials that are left, and again the best of all if its model was lost."""
    _run(record, record.left, images, workers, progress)
    if record.best is not None and not record.has_model():
        lost = record.best
        record.forget(lost)
        _run(record, [lost.index], images, workers, progress)


def _run(
    record: Record, left: Sequence[int], images: Images, workers: int | None, progress: bool | None
) -> None:
    """Run some trials."""
    if not left:
        return
    plan = record.plan
    if workers is None:
        workers = max(1, cores() // record.threads) if get_backend(plan.config.backend).host else 1
    workers = min(workers, len(left))
    _compile_kernels([plan.configs[index] for index in left])

    def job_of(index: int) -> Job:
        best = record.best
        so_far = None if best is None else [best.score, best.index]
        config = plan.configs[index].to_dict()
        return Job(index, plan.points[index], config, plan.monitor, so_far, str(record.folder))

    trials = run_all(left, job_of, images, workers=workers, threads=record.threads)
    bar = Progress(progress, len(plan.points), len(plan.points) - len(left), plan.monitor)
    with record.tidy(), bar, contextlib.closing(trials):
        for trial in trials:
            with ThreadPoolExecutor(1) as unbroken:  # Ctrl-C reaches only the main thread, which waits here
                unbroken.submit(record.add, trial, job_of(trial.index).model).result()
            bar.show(trial, record.best)


def _compile_kernels(configs: Sequence[RunConfig]) -> None:
    """Let this process compile the kernels that all processes share on the disk, where there are none."""
    for backend, dtype in {(config.backend, config.dtype) for config in configs}:
        with contextlib.suppress(BackendError):  # the trial says so
            model = Model([Dense(2)], (3,), dtype=dtype, backend=backend)
            model.predict(model.backend.xp.zeros((1, 3)))

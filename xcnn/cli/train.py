"""`xcnn train`: learn, measure, show."""

from __future__ import annotations

import shutil
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from xcnn import plots
from xcnn.backend import get_backend
from xcnn.callbacks import EarlyStopping
from xcnn.cli.console import BackendOption, DebugOption, commanded, list_files, note, plural, say, terminable
from xcnn.cli.report import Report, measure
from xcnn.cli.runs import (
    CHECKPOINTS,
    CONFIG,
    MODEL,
    choose_folder,
    find_begun,
    make_folder,
    named_data,
    refuse_existing,
    refuse_other,
)
from xcnn.cli.summary import Run, summary
from xcnn.data import DataSet
from xcnn.errors import DataError, Error, NonFiniteError
from xcnn.files import remove_leftovers, write_atomically
from xcnn.io.config import RunConfig, load_config
from xcnn.io.data_spec import DataSpec
from xcnn.layers import Conv2D
from xcnn.model import Model
from xcnn.ops.precision import check_precision
from xcnn.summary import summarize
from xcnn.training import Checkpoint, History
from xcnn.training.checkpoint import steps_saved

__all__ = ["default_config", "learn", "train"]

_MOST_IMAGES = 30_000  # that a run without a configuration looks at, all epochs together, but three epochs


@commanded
@terminable()
def train(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="A JSON file; without it, a small network learns digits. With --resume, the folder of a run."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="digits, optdigits, mnist, fashion-mnist, cifar10, or a folder of images."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="How often to see all training images.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images in a step.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same run.")] = None,
    backend: BackendOption = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the products: float32, tf32, bfloat16 or float16.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write to; must be new.")] = None,
    name: Annotated[str | None, typer.Option(help="In place of --out: the folder is runs/NAME.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped: by default the newest one.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Train a model, and show what it learned.

    Writes the model, its history, learning curves, confusion matrix, some predictions, a summary and the
    configuration, which can be run again, into runs/NAME. Ctrl-C or SIGTERM stops the training; what was
    learned until then is kept and written. The training is saved as it goes: after that or a crash, --resume
    goes on with it, and it ends as if nothing had happened.

    Parameters
    ----------
    config : Path, optional
        The JSON file.
    data, epochs, batch_size, seed, backend, precision
        See `RunConfig`: in place of what the configuration says.
    out : Path, optional
        The folder to write to.
    name : str, optional
        In place of `out`: the folder is runs/NAME.
    resume : bool
        Whether to go on with a run: the one whose folder `config`, `out` or `name` is, else the newest. One
        that has not begun begins.
    debug : bool
        Whether errors show where they came from.
    """
    begun = find_begun(config, out, name) if resume else None
    if begun is not None and (config is None or config.is_dir() or config.suffix == ".xcnn"):
        config = begun / CONFIG
    run = default_config() if config is None else load_config(config)
    given: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "seed": seed, "backend": backend}
    given["precision"] = None if precision is None else check_precision(precision, run.dtype)
    given = {key: value for key, value in given.items() if value is not None}
    if data is not None:
        given["data"] = _other_data(run.data, data)
    run = run.model_copy(update=given)
    folder = begun or choose_folder(out, name, run.data.label)
    run = run.model_copy(update={"backend": get_backend(run.backend).name})
    if config is None:
        run, images = _default_data(run)
        run = _fitted(run, images, epochs)
    else:
        images = run.load_data()
    if begun is not None:
        refuse_other(run, begun)
    try:
        model = run.build_model(images)
    except Error as error:
        if config is not None and error.where.startswith("layers["):
            error.where = f"{config}: {error.where}"
        raise
    done = learn(run, model, images, folder, resume=begun is not None)
    report = measure(model, images.test)
    report.show()
    _write(done, report, folder)


def default_config(name: str = "digits", /) -> RunConfig:
    """Return a run that comes with the commands.

    Parameters
    ----------
    name : {"digits", "mnist"}
        What is learned; `xcnn train` without a configuration learns the digits.

    Returns
    -------
    RunConfig
        A small network.
    """
    from xcnn.io.json_text import read_json

    path: Any = files("xcnn.cli") / f"{name}.json"
    return RunConfig.from_dict(read_json(path), where=path.name)


def learn(run: RunConfig, model: Model, images: DataSet, folder: Path, /, *, resume: bool = False) -> Run:
    """Train a model and save it, with its history and the configuration, in a new folder.

    Parameters
    ----------
    run : RunConfig
        How.
    model : Model
        From ``run.build_model(images)``.
    images : DataSet
        From ``run.load_data()``.
    folder : Path
        Must be new; it goes again where nothing was learned.
    resume : bool
        Whether it is the folder of a run that was stopped, to go on with.

    Returns
    -------
    Run
        What was done. Ctrl-C after the first epoch ends it early, and what was learned is kept.

    Raises
    ------
    FileError
        If the folder cannot be made.
    KeyboardInterrupt
        If nothing was learned before Ctrl-C.
    """
    if not resume:
        make_folder(folder)
    saved = Checkpoint(folder / CHECKPOINTS, config=run.to_dict())
    with saved.alone():
        if not resume:
            refuse_existing(folder)  # another process may have been quicker
        remove_leftovers(folder)
        try:
            return _learn(run, model, images, folder, saved, resume)
        except BaseException:
            written = {path.name for path in folder.glob("*")}
            if not resume and written <= {CONFIG, CHECKPOINTS} and not steps_saved(saved.folder):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _other_data(spec: DataSpec, name: str) -> DataSpec:
    """Return `spec` for another data set; which classes and how large images are is the other's."""
    other = named_data(name)
    if (other.name, other.path) == (spec.name, spec.path):
        return spec
    kept = {key: None for key in ("classes", "size", "grey")}
    return spec.model_copy(update={"name": other.name, "path": other.path, **kept})


def _default_data(run: RunConfig) -> tuple[RunConfig, DataSet]:
    """Return the default run and its images; those of a folder are made alike if they are not."""
    try:
        return run, run.load_data()
    except DataError:
        if run.data.path is None:
            raise
    alike = run.data.model_copy(update={"size": [32, 32], "grey": False})
    run = run.model_copy(update={"data": alike})
    images = run.load_data()
    note("note: the images differ in size or colour: all are made 3 x 32 x 32 (a configuration can say more)")
    return run, images


def _fitted(run: RunConfig, images: DataSet, epochs: int | None) -> RunConfig:
    """Return the default run for any data: as many outputs as classes, fewer epochs for more images."""
    content = run.to_dict()
    content["layers"][-1]["units"] = len(images.classes)
    if epochs is None:
        content["epochs"] = min(run.epochs, max(3, _MOST_IMAGES // len(images.train.y)))
    return RunConfig.from_dict(content)


def _learn(
    run: RunConfig, model: Model, images: DataSet, folder: Path, saved: Checkpoint, resume: bool
) -> Run:
    """Train the model, and save it; without an epoch to show for it, let Ctrl-C through."""
    train, validation = run.data.parts(images, run.seed)
    run.save(folder / CONFIG)
    _introduce(run, model, images, len(train.y), 0 if validation is None else len(validation.y))
    keep = None
    if validation is not None and not any(spec.root.name == "early_stopping" for spec in run.callbacks):
        keep = EarlyStopping("val_loss", patience=run.epochs)  # never stops; keeps the best
    if resume:
        say(f"Going on in {folder} after step {steps_saved(saved.folder):,}")
    options: dict[str, Any] = {"folder": folder, "checkpoint": saved, "resume": resume}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # what is not finite ends in an error
            warnings.showwarning = lambda message, *_: note(f"warning: {message}")
            history = run.fit(model, images, callbacks=[keep] if keep else [], **options)
    except NonFiniteError as error:
        if error.history is not None and error.history.epochs:
            _keep(model, error.history, folder)
            note(f"Kept in {folder}: the model as it was then, and its history")
        raise
    if not history.epochs:
        raise KeyboardInterrupt
    _keep(model, history, folder)
    best = None if keep is None or keep.best_epoch is None else keep.best_epoch + 1
    done = Run(run, model, images, len(train.y), history, history.seconds, best)
    if history.interrupted:
        note(f"Stopped in epoch {history.epochs} of {run.epochs}; what was learned is kept")
        note(f"xcnn train --resume {folder} goes on with it")
    say(done.story)
    say()
    return done


def _keep(model: Model, history: History, folder: Path) -> None:
    """Write what was learned, at once."""
    model.save(folder / MODEL)
    history.save(folder / "history.json")
    plots.learning_curves(history, path=folder / "learning_curves.png")


def _introduce(run: RunConfig, model: Model, images: DataSet, n: int, held_out: int) -> None:
    """Say what is going to happen."""
    shape = " x ".join(map(str, model.input_shape))
    held = f", validation on {held_out:,}" if held_out else ""
    tested = len(images.test.y)
    say(f"Training on {run.data.label}: {n:,} images of {shape}{held}, test on {tested:,} others")
    names = ", ".join(images.classes[:12]) + (", ..." if len(images.classes) > 12 else "")
    say(f"{len(images.classes)} classes: {names}")
    say()
    say(str(summarize(model)))
    say()
    steps = -(-n // run.batch_size)
    how = [run.loss.root.name, f"{run.optimizer.root.name} {run.optimizer.make().lr:g}"]
    how += [run.schedule.root.name] if run.schedule else []
    plan = f"{plural(run.epochs, 'epoch')} of {plural(steps, 'step')} of {plural(run.batch_size, 'image')}"
    say(f"{', '.join(how)}; {plan}; seed {run.seed}; backend {model.backend.name}")


def _write(done: Run, report: Report, folder: Path) -> None:
    """Write what there is to see, and say what there is."""
    written = {MODEL: "the model", "history.json": "loss and accuracy of each epoch"}
    written[CONFIG] = f"the run: xcnn train {folder / CONFIG} does it again"
    written["learning_curves.png"] = "how training went"
    written |= report.draw(folder)
    if any(isinstance(layer, Conv2D) for layer in done.model.walk()):
        plots.kernels(done.model, path=folder / "kernels.png")
        written["kernels.png"] = "the first convolution"
    write_atomically(folder / "summary.md", summary(folder.name, done, report).encode())
    written["summary.md"] = "all of this in words"
    written[f"{CHECKPOINTS}/"] = "the training, to go on with: xcnn train --resume"
    list_files(folder, written)
    say()
    say(f"Next: xcnn predict {folder / MODEL} IMAGE.png")

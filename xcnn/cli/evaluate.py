"""`xcnn test`: measure a model on images that it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import xcnn
from xcnn.cli.console import BackendOption, DebugOption, commanded, say
from xcnn.cli.report import class_names, measure
from xcnn.cli.runs import config_beside, find_model, make_folder, named_data
from xcnn.data import DataSet
from xcnn.data.sets import SETS
from xcnn.errors import DataError, ShapeError
from xcnn.io.config import RunConfig
from xcnn.io.data_spec import DataSpec
from xcnn.model import Model

__all__ = ["evaluate"]

_BY_SHAPE: dict[tuple[int, ...], str] = {(1, 8, 8): "digits", (1, 28, 28): "mnist", (3, 32, 32): "cifar10"}


@commanded
def evaluate(
    model: Annotated[Path, typer.Argument(help="A model file, or the folder of a run.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="A data set or a folder of images; by default that of the run that made the model."
        ),
    ] = None,
    backend: BackendOption = None,
    out: Annotated[
        Path | None, typer.Option(help="A new folder for confusion matrix and predictions.")
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Measure a model on the test images of a data set.

    Parameters
    ----------
    model : Path
        A model file, or the folder of a run.
    data : str, optional
        A data set or a folder of images.
    backend : str, optional
        Where to run.
    out : Path, optional
        A new folder for pictures.
    debug : bool
        Whether errors show where they came from.
    """
    path = find_model(model)
    loaded = xcnn.load(path, backend=backend)
    run = config_beside(path)
    spec = _chosen(loaded, run, data)
    images = spec.load(0 if run is None else run.seed)
    _check(loaded, images)
    say(f"Testing {path} on {spec.label}: {len(images.test.y):,} images; backend {loaded.backend.name}")
    report = measure(loaded, images.test, images.classes)
    report.show()
    if out is not None:
        make_folder(out)
        for file, what in report.draw(out).items():
            say(f"  {out / file}  {what}")


def _chosen(model: Model, run: RunConfig | None, data: str | None) -> DataSpec:
    """Return the data to test on."""
    if data is None:
        if run is not None:
            return run.data
        data = _BY_SHAPE.get(model.input_shape)
        if data is None:
            size = " x ".join(map(str, model.input_shape))
            msg = f"there is no config.json beside it, and no known data has images of {size}; needed --data"
            raise DataError(msg, where="the model")
    spec = named_data(data)
    if spec.name is None:
        shape = model.input_shape
        return spec.model_copy(update={"size": list(shape[1:]), "grey": {1: True, 3: False}.get(shape[0])})
    if run is not None and (run.data.name, spec.name) == ("digits", "optdigits"):
        msg = (
            "this model was trained on digits, which are the test images of optdigits: it has seen them; "
            "needed a model trained on optdigits, or --data digits"
        )
        raise DataError(msg, where="--data optdigits")
    some = model.classes is not None and set(model.classes) < set(SETS[spec.name].classes)
    return spec.model_copy(update={"classes": list(class_names(model))}) if some else spec


def _check(model: Model, images: DataSet) -> None:
    """Refuse images of another shape, and other classes."""
    shape = tuple(images.test.x.shape[1:])
    if shape != model.input_shape:
        came, needed = (" x ".join(map(str, s)) for s in (shape, model.input_shape))
        msg = f"has images of {came}; the model needs {needed} (channels x rows x columns)"
        raise ShapeError(msg, where=images.name)
    names = class_names(model)
    fits = len(names) == len(images.classes) if model.classes is None else names == tuple(images.classes)
    if not fits:
        msg = f"has the classes {', '.join(images.classes)}; the model knows {', '.join(names)}"
        raise DataError(msg, where=images.name)

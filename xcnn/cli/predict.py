"""`xcnn predict`: say what images show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import xcnn
from xcnn.cli.console import BackendOption, DebugOption, commanded, complain, note
from xcnn.cli.report import class_names, probabilities
from xcnn.cli.runs import config_beside, find_model
from xcnn.data import read_images
from xcnn.data.strokes import has_light_ground, learned_light_on_dark
from xcnn.errors import Error, OptionError, ShapeError
from xcnn.model import Model

__all__ = ["predict"]


@commanded
def predict(
    model: Annotated[Path, typer.Argument(help="A model file, or the folder of a run.")],
    images: Annotated[
        list[str], typer.Argument(help="Image files; resized and made grey as the model needs.")
    ],
    invert: Annotated[
        bool, typer.Option("--invert", help="Exchange light and dark: for dark strokes on a light ground.")
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="How many classes to name for each image.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all probabilities.")] = False,
    backend: BackendOption = None,
    debug: DebugOption = False,
) -> None:
    """Say what images show: a line for each, with the likeliest classes and their probabilities.

    Parameters
    ----------
    model : Path
        A model file, or the folder of a run.
    images : list of str
        Image files.
    invert : bool
        Whether to exchange light and dark.
    top : int
        How many classes to name for each image.
    as_json : bool
        Whether to print JSON.
    backend : str, optional
        Where to run.
    debug : bool
        Whether errors show where they came from.
    """
    path = find_model(model)
    loaded = xcnn.load(path, backend=backend)
    names = class_names(loaded)
    failed, found, seen = False, [], []
    for image in images:
        try:
            seen.append(_read(loaded, image, invert))
        except Error as error:
            if debug or isinstance(error, (ShapeError, OptionError)):
                raise
            complain(str(error))
            failed = True
            continue
        found.append(image)
    if found:
        x = np.concatenate(seen)
        run = config_beside(path)
        if learned_light_on_dark(loaded.input_shape, None if run is None else run.data):
            for image, pixels in zip(found, x, strict=True):
                _remark(image, pixels, invert)
        _print(found, probabilities(loaded, x), names, min(top, len(names)), as_json)
    if failed:
        raise typer.Exit(2)


def _read(model: Model, image: str, invert: bool) -> np.ndarray:
    """Return one image as the model takes it."""
    shape = model.input_shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        msg = f"takes inputs of shape {shape}; images have 1 or 3 channels, rows and columns"
        raise ShapeError(msg, where="the model")
    x = read_images([image], size=(shape[1], shape[2]), grey=shape[0] == 1)
    return 255 - x if invert else x


def _remark(image: str, pixels: np.ndarray, invert: bool) -> None:
    """Say so where the edge of an image is light though the model learned on dark ground."""
    if has_light_ground(pixels):
        advice = "try it without --invert" if invert else "try --invert"
        note(f"note: {image}: the ground is light; this model learned light strokes on a dark one: {advice}")


def _print(images: list[str], proba: np.ndarray, names: tuple[str, ...], top: int, as_json: bool) -> None:
    order = np.argsort(-proba, axis=1, kind="stable")
    if as_json:
        content: list[dict[str, Any]] = [
            {
                "image": image,
                "class": names[best[0]],
                "probability": round(float(p[best[0]]), 6),
                "probabilities": {name: round(float(value), 6) for name, value in zip(names, p, strict=True)},
            }
            for image, p, best in zip(images, proba, order, strict=True)
        ]
        print(json.dumps(content, indent=1, ensure_ascii=False))
        return
    for image, p, best in zip(images, proba, order, strict=True):
        first, *others = [f"{names[k]}  {100 * p[k]:.1f} %" for k in best[:top]]
        print(f"{image}: {first}" + (f"  ({', '.join(others)})" if others else ""))

"""Explaining a model, or one layer of it, on one image."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from xcnn import losses
from xcnn.backend import backend_of, readable
from xcnn.data.rows import from_list
from xcnn.errors import Error, OptionError, ShapeError
from xcnn.explain.explanation import Explanation, Position, explain_step, named, strongest
from xcnn.explain.overview import ModelExplanation
from xcnn.explain.text import number
from xcnn.explain.trace import Step, Tracer, host
from xcnn.layer import UNBUILT, Layer
from xcnn.layers import Identity, Sequential
from xcnn.layers.linear import Activated
from xcnn.plan import ending_of
from xcnn.predict import Predictor

__all__ = ["explain_layer", "explain_model"]


def _single(x: Any, shape: tuple[int, ...]) -> Any:
    """Return one input with the axis N."""
    x = from_list(x, "explain")
    extents = tuple(getattr(x, "shape", ()))
    if len(extents) == len(shape) + 1 and extents[0] != 1 and extents[1:] == shape:
        msg = f"x holds {extents[0]} inputs, its shape {extents}; needed one: x[0]"
        raise ShapeError(msg, where="explain")
    return x[None, ...] if len(extents) == len(shape) else x


def _run(layer: Layer, x: Any) -> tuple[Step, Any, Tracer, Any]:
    """Run `layer` and note what passes; return that, y, and what runs backward."""
    tracer = Tracer(layer, [])
    with readable():
        y, saved = tracer.forward(x, hold=True)
    return saved[0], y, tracer, saved


def _one_hot(backend: Any, like: Any, position: Position) -> Any:
    """Return zeros like the array `like` (1, ...), with a one at `position`."""
    dy = np.zeros(tuple(like.shape))
    dy[(0, *position)] = 1.0
    return backend.asarray(dy, str(like.dtype).rpartition(".")[2])


def explain_layer(layer: Layer, x: Any, position: Position | None = None, /) -> Explanation:
    """Explain what `layer` does with `x`; see `Layer.explain`.

    Parameters
    ----------
    layer : Layer
        A built one.
    x : array (C, H, W) or (1, C, H, W)
        What the layer is given.
    position : tuple of int, optional
        Which element of the output; by default the largest.

    Returns
    -------
    Explanation
        In numbers; its gradients are those of that element.
    """
    if layer.maker is None:
        raise Error(UNBUILT, where=layer.label)
    values = layer.maker.state.arrays.values
    entrance = Predictor()
    entrance.input_shape, entrance.backend = layer.input_shape, backend_of(values)
    entrance.dtype = str(values.dtype).rpartition(".")[2]
    try:
        accepted = entrance.accept(_single(x, layer.input_shape))
    except Error as error:
        layer.locate(error)
        raise
    with entrance.backend.active():
        step, y, tracer, saved = _run(layer, accepted)
        position = strongest(step.y) if position is None else position
        with readable():
            tracer.backward(_one_hot(entrance.backend, y, position), saved)
    made = explain_step(step, position)
    made.again = lambda *at: explain_layer(layer, x, at)
    return made


def _last(step: Step) -> Step:
    """Return what ran last, inside Sequentials and activations."""
    while type(step.layer).forward in (Sequential.forward, Activated.forward):
        parts = [part for part in step.parts if type(part.layer) is not Identity]
        if not parts:
            break
        step = parts[-1]
    return step


def _follow(model: Any, step: Step, position: Position) -> Position:
    """Return the element of y that changes most with the element `position` of x."""
    for change in (-step.x[position], 1.0, 10.0 * float(np.max(np.abs(step.x))) + 1.0):
        x = step.x.copy()
        x[position] += change
        with readable():
            y = host(step.layer.forward(model.backend.asarray(x[None], model.dtype))[0])[0]
        if np.any(y != step.y):
            return strongest(y - step.y)
    return strongest(step.y)  # no window holds it


def _start(model: Any, image: np.ndarray, pixel: Any, channel: Any) -> Position:
    """Return the element of the image to follow."""
    try:
        row, column = map(operator.index, pixel)
        channel = None if channel is None else operator.index(channel)
        c, h, w = image.shape
    except (TypeError, ValueError) as error:
        msg = f"pixel is {pixel!r}, channel {channel!r}, of an input {image.shape}; needed "
        msg += "whole numbers, (row, column) of an image (C, H, W)"
        raise OptionError(msg, where="explain") from error
    if not (0 <= row < h and 0 <= column < w and 0 <= (channel or 0) < c):
        msg = f"pixel {pixel} of channel {channel or 0} is not in the image (C, H, W) = {image.shape}"
        raise OptionError(msg, where="explain")
    return (int(np.argmax(np.abs(image[:, row, column]))) if channel is None else channel), row, column


def explain_model(
    model: Any, x: Any, /, *, label: Any = None, pixel: Any = None, channel: int | None = None
) -> ModelExplanation:
    """Explain what `model` does with `x`; see `Model.explain`.

    Parameters
    ----------
    model : Model
        It runs in its precision, uncompiled: shown are the rounded numbers that it multiplies.
    x : array (C, H, W) or (1, C, H, W)
        One image; uint8 is divided by 255.
    label : int or array, optional
        The true class; gradients are then those of the loss, else those of the largest output before its
        softmax or sigmoid.
    pixel : (row, column), optional
        Follow this pixel of the image forward, to the outputs that it changes most; else each layer shows the
        output that did most for the next, back from the answer.
    channel : int, optional
        Of that pixel; by default its strongest.

    Returns
    -------
    ModelExplanation
        In numbers.
    """
    if channel is not None and pixel is None:
        msg = f"channel is {channel} without a pixel; needed pixel=(row, column) to follow"
        raise OptionError(msg, where="explain")
    step, y, tracer, saved = _run(model.layers, model.accept(_single(x, model.input_shape)))
    last = _last(step)
    ending = ending_of(last.layer)
    z = np.asarray(last.x if ending else step.y)
    winner = tuple(map(int, np.unravel_index(np.argmax(z), z.shape)))
    link = ending or (model.loss.link if model.loss else None)
    binary = z.shape == (1,) and link == "sigmoid"
    numbered = tuple(map(str, range(2 if binary else z.shape[0])))
    names = model.classes if len(model.classes or ()) >= len(numbered) else numbered
    loss = model.loss or (losses.CrossEntropy() if z.size > 1 else losses.BinaryCrossEntropy())
    with readable():
        if label is None:
            last.ends = ending is not None
            dz = _one_hot(model.backend, y, winner)
            kind = "logit" if link or (model.loss is None and z.size > 1) else "output"
            which = f"the {kind} of {names[1 if binary else winner[0]]}"
            target = which if z.ndim == 1 and (z.size > 1 or binary) else f"the output at {named(winner)}"
        else:
            labels = loss.accept(
                from_list([label], "explain"), 1, model.output_shape, model.backend, model.dtype
            )
            head, probabilities = model.head(loss)
            last.ends = head is not model.plan
            given = model.backend.asarray(z[None], model.dtype) if last.ends else y
            dz = loss(given, labels, probabilities=probabilities)[1].backward(1.0)[0]
            known = loss.classifies and (z.size > 1 or binary) and not np.ndim(label)
            name = "the label" if np.ndim(label) else f"label {names[int(label)] if known else label}"
            target = f"the {loss.name.replace('_', ' ')} of {name}"
        tracer.backward(dz, saved)
        chances = None
        if np.isfinite(z).all() and (binary or (z.ndim == 1 and z.size > 1 and (ending or loss.link))):
            chances = np.asarray(
                host(model.predict_proba(model.backend.asarray(step.x[None], model.dtype)))[0], np.float64
            )
            chances = np.array([1.0 - chances[0], chances[0]]) if binary else chances
    if pixel is None:
        layers = explain_step(step, winner).parts
    else:
        at, found = _start(model, step.x, pixel, channel), []
        for inner in step.parts:
            at = _follow(model, inner, at)
            found.append(explain_step(inner, at))
        layers = tuple(found)
    if chances is None:
        answer = _value(z, winner, step.x)
    else:
        answer = _classes(chances, names, "" if link == "sigmoid" and not binary else "then ")
    return ModelExplanation(tuple(layers), step, target, answer, chances, names)


def _value(z: np.ndarray, winner: Position, x: np.ndarray) -> str:
    """Return the largest output in a sentence, and where NaN came from."""
    if np.isfinite(z[winner]):
        return f"the model gives {number(float(z[winner]))}{f' at {named(winner)}' if z.size > 1 else ''}"
    bad = int(np.sum(~np.isfinite(x)))
    source = f"; {bad:,} of the {x.size:,} numbers of the input are NaN or infinite" if bad else ""
    return f"the model gives {'NaN' if np.isnan(z[winner]) else 'infinity'}{source}"


def _classes(chances: np.ndarray, names: tuple[str, ...], between: str) -> str:
    """Return the likeliest classes in a sentence; those below 0.05 % are left out."""
    order = np.argsort(-chances, kind="stable")[:4]
    first, *others = (f"{names[k]} ({100 * chances[k]:.1f} %)" for k in order if chances[k] >= 0.0005)
    return f"the model says {first}" + (f", {between}{', '.join(others)}" if others else "")

"""The table of a model: shapes, parameters, cost, memory and what an output pixel sees."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from xcnn.layer import Layer
from xcnn.types import Pair

__all__ = ["Summary", "summarize"]

Field = tuple[Pair, Pair] | None  # (seen, apart) in pixels of the model's input; None: everything


class Summary(str):
    """The table as text, with its totals.

    Attributes
    ----------
    parameters : int
        Values that are trained or frozen; shared ones counted once.
    multiply_adds : int
        Of one image's forward pass.
    activation_bytes : int
        Of one image's outputs of all layers.
    """

    parameters: int
    multiply_adds: int
    activation_bytes: int

    def __repr__(self) -> str:
        return f"<summary: {self.parameters:,} parameters, {self.multiply_adds:,} multiply-adds an image>"


def _field(layer: Layer, field: Field) -> Field:
    """Return what an output pixel of `layer` sees, given what its input pixels see."""
    from xcnn.layers import Concat, Gate, Sequential, Sum
    from xcnn.layers.linear import Activated

    if isinstance(layer, (Sum, Concat)):
        fields = [_field(child, field) for child in layer.children()]
        known = [f for f in fields if f is not None]
        if len(known) < len(fields):
            return None
        seen = tuple(max(f[0][axis] for f in known) for axis in (0, 1))
        return (seen[0], seen[1]), known[0][1]
    if isinstance(layer, (Sequential, Gate)):
        for child in layer.children():
            field = _field(child, field)
        return field
    own = layer.field()
    if own is None or field is None:
        return None
    (size, step), (seen, apart) = own, field
    rows, columns = (s + (k - 1) * a for s, k, a in zip(seen, size, apart, strict=True))
    field = (rows, columns), (apart[0] * step[0], apart[1] * step[1])
    return _field(layer.act, field) if isinstance(layer, Activated) else field


def _tree(layer: Layer) -> Iterator[Layer]:
    yield layer
    for child in layer.children():
        yield from _tree(child)


def _rows(
    layer: Layer, field: Field, depth: int, counted: set[int], itemsize: int, frozen: bool
) -> Iterator[Any]:
    """Yield (label, shape, parameters, multiply-adds, bytes, field) of each layer, children below parents."""
    from xcnn.layers import Sequential
    from xcnn.layers.linear import Activated

    parts = (
        [*_tree(layer)] if isinstance(layer, Activated) else [layer]
    )  # an activation has no row of its own
    every = [p for part in parts for p in part.parameters().values()]
    own = [p for p in every if id(p) not in counted]
    shared = " (shared)" if every and not own else ""
    counted.update(map(id, own))
    label = type(layer).__name__ + (f" {layer.name!r}" if layer.name else "") + shared
    if isinstance(layer, Activated) and layer.children():
        label += f" + {type(layer.act).__name__}"
    after = _field(layer, field)
    children = () if isinstance(layer, Activated) else layer.children()
    size = 0 if children else math.prod(layer.output_shape) * itemsize
    frozen = frozen or not layer.trainable
    count = sum(p.size for p in own)
    yield (
        "  " * depth + label + " (frozen)" * frozen,
        layer.output_shape,
        count,
        sum(part.multiply_adds() for part in parts),
        size,
        after,
    )
    for child in children:
        yield from _rows(child, field, depth + 1, counted, itemsize, frozen)
        if type(layer) is Sequential:
            field = _field(child, field)


def _human(count: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024  # type: ignore[assignment]
    return f"{count:.4g} GiB"


def summarize(model: Any, /) -> Summary:
    """Return the table of a model.

    Parameters
    ----------
    model : Model
        Any.

    Returns
    -------
    Summary
        A string.
    """
    itemsize = int(model.dtype.removeprefix("float")) // 8
    rows, counted, field = [], set[int](), ((1, 1), (1, 1))
    for i, layer in enumerate(model.layers):
        found = list(_rows(layer, field, 0, counted, itemsize, not model.layers.trainable))
        rows += [(str(i) if k == 0 else "", *row) for k, row in enumerate(found)]
        field = _field(layer, field)  # type: ignore[assignment]
    cells = [("", "layer", "output shape", "parameters", "multiply-adds", "activations", "receptive field")]
    cells.append(("", "input", f"(N, {', '.join(map(str, model.input_shape))})", "", "", "", ""))
    for index, label, shape, count, work, size, seen in rows:
        where = "all" if seen is None else f"{seen[0][0]} x {seen[0][1]}"
        if len(shape) != 3:
            where = "all"
        full = f"(N, {', '.join(map(str, shape))})"
        cells.append((index, label, full, f"{count:,}", f"{work:,}", _human(size) if size else "", where))
    parameters = model.state.size
    work, size = sum(row[4] for row in rows), sum(row[5] for row in rows)
    cells.append(("", "total", "", f"{parameters:,}", f"{work:,}", _human(size), ""))
    widths = [max(len(row[k]) for row in cells) for k in range(7)]
    lines = []
    for r, row in enumerate(cells):
        text = [c.ljust(w) if k < 3 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(text).rstrip())
        if r in (0, len(cells) - 2):
            lines.append("-" * (sum(widths) + 12))
    itself = all(layer in model.flat.layers for layer in model.plan)
    runs = "as written" if itself else ", ".join(layer.label for layer in model.plan)
    numbers = model.dtype if model.precision == "float32" else f"{model.dtype}, products in {model.precision}"
    lines.append(f"backend {model.backend.name}, {numbers}; runs: {runs}; activations are those of one image")
    summary = Summary("\n".join(lines))
    summary.parameters, summary.multiply_adds, summary.activation_bytes = parameters, work, size
    return summary

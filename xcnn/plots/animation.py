"""The window that slides: patch, products and output, frame by frame, as a GIF."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.patches import Rectangle

from xcnn.errors import FileError, OptionError
from xcnn.explain import Convolution, Pooling, Windowed
from xcnn.explain.explanation import explain_step
from xcnn.files import write_atomically
from xcnn.plots.explanations import said
from xcnn.plots.panels import FRAME, image_of, matrix, picture, say
from xcnn.plots.style import figure, styled

__all__ = ["slide"]

_DPI = 90
_TAPS = 7  # rows and columns that are shown of a larger window


@styled
def slide(e: Windowed, path: Any, /, *, most: int = 64, fps: float = 4.0) -> int:
    """Write a GIF in which the window of `e` slides over its input and a channel of its output grows.

    Parameters
    ----------
    e : Windowed
        A convolution or a pooling; its filter, and its channels of the input, are shown.
    path : str or Path
        Of the GIF.
    most : int
        How many frames at most.
    fps : float
        Frames per second.

    Returns
    -------
    int
        The number of frames.

    Raises
    ------
    OptionError
        If no frame is asked for.
    FileError
        If it cannot be written.
    """
    if most < 1 or not fps > 0:
        msg = f"most is {most} and fps {fps}; needed one frame at least, and a positive number a second"
        raise OptionError(msg, where="animate")
    height, width = e.step.y.shape[1:] if e.step.y.ndim == 3 else (1, 1)
    every = 1
    while -(-height // every) * -(-width // every) > most:
        every += 1
    places = [r * width + c for r in range(0, height, every) for c in range(0, width, every)]
    film, writer = _Film(e, every), PillowWriter(fps=fps)  # type: ignore[arg-type]
    path = Path(path)
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder, path.name)  # whose ending says what is drawn
        try:
            with writer.saving(film.made, str(drawn), dpi=_DPI):
                for place in places:
                    film.turn_to(place)
                    writer.grab_frame()
            content = drawn.read_bytes()
        except (OSError, ValueError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or error
            msg = f"the animation cannot be written: {reason}"
            raise FileError(msg, where=str(path)) from error
    write_atomically(path, content)
    return len(places)


class _Film:
    """A figure that is turned to one pixel of the output after the other."""

    def __init__(self, e: Windowed, every: int) -> None:
        self.e, self.channel = e, e.position[0]
        self.y = e.step.y[self.channel].reshape(-1, e.step.y.shape[-1] if e.step.y.ndim == 3 else 1)
        self.chosen = e.shown_channels() if isinstance(e, Convolution) else [0]
        rows: Any = [["x", f"p{i}", f"k{i}", f"q{i}", "say", "y"] for i in range(len(self.chosen))]
        if isinstance(e, Pooling):
            rows = [["x", "p0", "say", "y"]]
        ratios = [1.4, *[1.0] * (len(rows[0]) - 3), 1.2, 1.4]
        self.made = figure(1.6 * sum(ratios), max(2.6, 0.8 + 1.35 * len(rows)))
        told = f"; one row and one column of every {every} are shown" if every > 1 else ""
        told += f"; {_TAPS} × {_TAPS} pixels of the window" if max(e.inside.shape, default=0) > _TAPS else ""
        self.made.suptitle(f"{e.name()}, {e.first} {self.channel}{told}", x=0.01, ha="left", fontsize=10)
        self.axes = self.made.subplot_mosaic(rows, width_ratios=ratios)
        x = e.step.x
        channel = e.channels[self.chosen[0]]
        picture(self.axes["x"], image_of(x, channel), "x" if len(x) in (1, 3) else f"x, channel {channel}")
        self.grown = picture(self.axes["y"], self.y, "y")
        self.axes["y"].set_facecolor("#ececec")
        self._make_room()
        self.frames = [_box(self.axes[name]) for name in ("x", "y")]
        self.turn_to(0)
        self.made.draw_without_rendering()
        self.made.set_layout_engine("none")  # panels stay where they are

    def at(self, place: int) -> Any:
        """Return the explanation of pixel number `place`."""
        pixel = divmod(place, self.y.shape[1]) if self.e.step.y.ndim == 3 else ()
        return explain_step(self.e.step, (self.channel, *pixel))

    def _make_room(self) -> None:
        """Let the picture of x show the padding over which the window slides."""
        axes, corners = self.axes["x"], [self.at(0), self.at(self.y.size - 1)]
        h, w = axes.images[0].get_size()
        rows, columns = ([k for e in corners for k in getattr(e, name)] for name in ("rows", "columns"))
        axes.set_xlim(min([0, *columns]) - 0.5, max([w - 1, *columns]) + 0.5)
        axes.set_ylim(max([h - 1, *rows]) + 0.5, min([0, *rows]) - 0.5)

    def turn_to(self, place: int) -> None:
        """Show pixel number `place`, and the output as far as that."""
        e = self.at(place)
        row, column = divmod(place, self.y.shape[1])
        seen = np.where(np.arange(self.y.size).reshape(self.y.shape) <= place, self.y, np.nan)
        self.grown.set_data(seen)
        self.frames[0].set_visible(bool(e.rows and e.columns))
        if e.rows and e.columns:
            top, left = min(e.rows) - 0.5, min(e.columns) - 0.5
            self.frames[0].set_bounds(left, top, max(e.columns) + 0.5 - left, max(e.rows) + 0.5 - top)
        self.frames[1].set_bounds(column - 0.5, row - 0.5, 1, 1)
        for name in self.axes:
            if name not in ("x", "y"):
                self.axes[name].clear()
        say(self.axes["say"], [f"row {row}, column {column}", "", *said(e)])
        for i, c in enumerate(self.chosen):
            self._grids(e, i, c)

    def _grids(self, e: Any, i: int, c: int) -> None:
        """Draw patch, kernel and products of one channel."""
        if not e.patch.size:
            say(self.axes[f"p{i}"], ["no pixel"])
            for letter in "kq":
                self.axes[f"{letter}{i}"].set_axis_off()
            return
        corner = slice(0, _TAPS), slice(0, _TAPS)
        seen, inside = e.step.x[e.channels[c]], e.inside[corner]
        name = f"patch, channel {e.channels[c]}" if len(e.channels) > 1 else "patch"
        matrix(self.axes[f"p{i}"], e.patch[c][corner], name, inside=inside, grey=True, like=seen)
        if isinstance(e, Convolution):
            most = np.abs(self.e.kernel[c]).max(initial=0.0) * np.max(  # type: ignore[attr-defined]
                np.abs(seen), initial=0.0, where=np.isfinite(seen)
            )
            matrix(self.axes[f"k{i}"], e.kernel[c][corner], "kernel", sign="×")
            products = e.products[c][corner]
            matrix(self.axes[f"q{i}"], products, "products", inside=inside, sign="=", like=np.asarray([most]))


def _box(axes: Any) -> Rectangle:
    box = Rectangle((0, 0), 1, 1, fill=False, edgecolor=FRAME, linewidth=2.2, zorder=4, clip_on=False)
    axes.add_patch(box)
    return box

"""Convolutions: patch, kernel, products, their sum, the bias and the activation; and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xcnn.explain.affine import Affine, affine_fields, before_activation
from xcnn.explain.explanation import Explanation, Position, explanation, named
from xcnn.explain.text import beside, grid, number, titled
from xcnn.explain.trace import Step, host
from xcnn.explain.windows import Windowed, source_of, window_fields
from xcnn.layers import Conv2D, ConvTranspose2D

__all__ = ["Convolution"]

_CHANNELS = 3  # how many are shown


@dataclass(repr=False, eq=False)
class Convolution(Windowed, Affine):
    """A convolution: patch times kernel, summed, plus the bias, then the activation.

    Parameters
    ----------
    kernel : array (channels, rows, columns)
        As it lies over the patch: rotated for a true convolution.
    """

    first = "filter"

    kernel: np.ndarray

    @property
    def to_patch(self) -> np.ndarray:
        """What this output hands back to the pixels of the patch: dz times kernel."""
        return (self.dz or 0.0) * self.kernel

    @property
    def to_kernel(self) -> np.ndarray:
        """What this output adds to the gradient of the kernel: dz times patch."""
        return (self.dz or 0.0) * self.patch

    def shown_channels(self) -> list[int]:
        """Return the channels to show, by their place in the patch: those of the largest products."""
        weight = np.abs(self.products).sum(axis=(1, 2))
        return sorted(np.argsort(-weight, kind="stable")[:_CHANNELS].tolist())

    def lines(self) -> list[str]:
        """Return patch, kernel, products, their sum, the bias and the activation."""
        head = f"{named(self.position, self.first)} of y"
        if not self.patch.size:
            return [f"{head}: no pixel of x reaches it", *self.sums([("sum of no products", 0.0)])]
        lines, channels = [f"{head} sees {self.where()}"], self.shown_channels()
        rotated = ", rotated" if getattr(self.step.layer, "op", None) == "true_conv2d" else ""
        for c in channels:
            products = self.products[c]
            taps = self.taps(products)
            inside = self.inside[taps]
            lines += beside(
                titled(f"x, channel {self.channels[c]}", grid(self.patch[c][taps], inside=inside)),
                titled(f"kernel{rotated}", grid(self.kernel[c][taps])),
                titled("products", grid(products[taps], inside=inside)),
                signs="×=",
            )
            lines += self.left_out(taps)
        if len(self.channels) == 1:
            return lines + self.sums([(f"sum of {self.products.size} products", self.sum)])
        rows = [(f"products of channel {self.channels[c]}", float(self.products[c].sum())) for c in channels]
        others = len(self.channels) - len(channels)
        if others:
            rows.append(
                (
                    f"{others} other channel{'s' if others > 1 else ''}",
                    self.sum - sum(value for _, value in rows),
                )
            )
        return lines + self.sums(rows)

    def backward_lines(self) -> list[str]:
        """Return what the gradient of this output does to patch and kernel."""
        lines = super().backward_lines()
        if not lines or not self.patch.size:
            return lines
        if not self.dz:
            return [*lines, "dz 0: from this output nothing goes back"]
        c = max(self.shown_channels(), key=lambda c: float(np.abs(self.products[c]).sum()))
        taps = self.taps(self.products[c])
        channel = f"channel {self.channels[c]}: " if len(self.channels) > 1 else ""
        return [
            *lines,
            f"dz {number(self.dz)}: from this output dx gets dz × kernel, dw gets dz × patch, db gets dz",
            *beside(
                titled(f"{channel}to dx", grid(self.to_patch[c][taps], inside=self.inside[taps])),
                titled("to dw", grid(self.to_kernel[c][taps])),
            ),
        ]


def _convolution(
    layer: Any, step: Step, position: Position, at: Position, parts: Any, kernel: np.ndarray, **window: Any
) -> Explanation:
    """Return the explanation of element `at` of z, where `kernel` lies over the channels, rows, columns."""
    seen = window_fields(step.factors(step.x), **window)
    kernel = kernel.astype(np.float64)
    fields = affine_fields(layer, step, at, seen["patch"] * kernel)
    made = Convolution(step, position, parts=parts, **seen, **fields, kernel=kernel)
    made.source = source_of(made, made.products * (1 if made.z >= 0 else -1))
    return made


@explanation.register
def _conv(layer: Conv2D, step: Step, position: Position) -> Explanation:
    parts, at = before_activation(step, position)
    w, window = step.factors(host(layer.w.value)), layer.window
    f, c, kh, kw = w.shape
    first = at[0] // (f // layer.groups) * c
    rows, columns = (
        [i * stride - before + k * apart for k in range(taps)]
        for i, taps, stride, (before, _), apart in zip(
            at[1:], (kh, kw), window["stride"], window["padding"], window["dilation"], strict=True
        )
    )
    kernel = w[at[0], :, ::-1, ::-1] if layer.op == "true_conv2d" else w[at[0]]
    return _convolution(
        layer, step, position, at, parts, kernel, channels=range(first, first + c), rows=rows, columns=columns
    )


@explanation.register
def _conv_transpose(layer: ConvTranspose2D, step: Step, position: Position) -> Explanation:
    parts, at = before_activation(step, position)
    w, window = step.factors(host(layer.w.value)), layer.window
    per_group, c = w.shape[1], w.shape[0] // layer.groups
    group, own = divmod(at[0], per_group)
    found = []
    for i, extent, taps, stride, (before, _), apart in zip(
        at[1:],
        step.x.shape[1:],
        w.shape[2:],
        window["stride"],
        window["padding"],
        window["dilation"],
        strict=True,
    ):
        shifts = [(k, *divmod(i + before - k * apart, stride)) for k in range(taps)]
        found.append([(k, pixel) for k, pixel, rest in shifts if rest == 0 and 0 <= pixel < extent])
    rows, columns = ([pixel for _, pixel in axis] for axis in found)
    taps_of_rows, taps_of_columns = ([k for k, _ in axis] for axis in found)
    channels = range(group * c, (group + 1) * c)
    kernel = w[np.ix_(channels, [own], taps_of_rows, taps_of_columns)][:, 0]
    return _convolution(
        layer, step, position, at, parts, kernel, channels=channels, rows=rows, columns=columns
    )

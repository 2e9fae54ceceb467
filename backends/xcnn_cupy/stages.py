"""Stages: what compiled runs are made of, and chains of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from math import prod
from types import MappingProxyType
from typing import Any

from xcnn_cupy import layout

__all__ = ["Chain", "Job", "Shape", "Stage", "Unroll"]

Shape = tuple[int, int, int]  # C, H and W of one image; features are images of one pixel


@dataclasses.dataclass(frozen=True)
class Job:
    """What the stages of one pass through a run share.

    Attributes
    ----------
    kind : str
        Of the numbers between the stages.
    weights : mapping
        From a parameter's start to its values, kernels with channels last.
    buffers : tuple of array
        The model's.
    draw : Pass or None
        In training: what random layers draw from.
    hold : bool
        Whether what backward needs is kept.
    moved : dict
        From a buffer's index to its new value: what the stages write in training.
    gradients : mapping
        From a parameter's start to where its gradient belongs, in a backward pass.
    """

    kind: str
    weights: Mapping[int, Any]
    buffers: tuple[Any, ...]
    draw: Any
    hold: bool
    moved: dict[int, Any] = dataclasses.field(default_factory=dict)
    gradients: Mapping[int, Any] = dataclasses.field(default_factory=dict)


class Stage:
    """One step of a run on images with channels last.

    Attributes
    ----------
    parameters : dict
        From where a parameter starts in the model's values to its shape: (F, C, KH, KW) or (C,).
    """

    parameters: Mapping[int, tuple[int, ...]] = MappingProxyType({})

    def walk(self) -> Iterator[Stage]:
        """Yield this stage, and those inside it.

        Yields
        ------
        Stage
            In the order of the forward pass, but for branches, which have none.
        """
        yield self

    def forward(self, x: Any, job: Job, /) -> tuple[Any, Any]:
        """Return y and what `backward` needs.

        Parameters
        ----------
        x : array (N, C, H, W)
            Of the run's kind.
        job : Job
            The pass.

        Returns
        -------
        y : array
            Never written again; perhaps x itself.
        saved : object
            For `backward`.
        """
        raise NotImplementedError

    def backward(self, dy: Any, saved: Any, job: Job, need_dx: bool, /) -> Any:
        """Write the gradients of parameters, and return that of x.

        Parameters
        ----------
        dy : array
            Like y.
        saved : object
            From `forward`.
        job : Job
            The same pass, with room for gradients.
        need_dx : bool
            Whether dx is wanted.

        Returns
        -------
        array or None
            dx.
        """
        raise NotImplementedError


class Chain(Stage):
    """Stages one after the other.

    Parameters
    ----------
    shape : (C, H, W)
        Of one input.
    math : {"float32", "tf32"}
        How products of float32 are computed.

    Attributes
    ----------
    shape : (C, H, W)
        Of one output of the stages so far.
    stages : list of Stage
        In order.
    """

    def __init__(self, shape: Shape, math: str) -> None:
        self.shape, self.math, self.stages = shape, math, list[Stage]()

    @property
    def last(self) -> Any:
        """The stage that made what the next one reads, or None."""
        return self.stages[-1] if self.stages else None

    def append(self, stage: Stage, shape: Shape, /) -> None:
        """Add a stage that gives images of `shape`."""
        self.stages.append(stage)
        self.shape = shape

    def unroll(self) -> None:
        """Make features of what would else stay images behind a Flatten."""
        if self.shape[1:] != (1, 1):
            self.append(Unroll(self.shape), (prod(self.shape), 1, 1))

    def walk(self) -> Iterator[Stage]:
        """Yield its stages, and those inside them."""
        yield self
        for stage in self.stages:
            yield from stage.walk()

    def forward(self, x: Any, job: Job, /) -> tuple[Any, Any]:
        """Return what the last stage gives, and what each one saved."""
        saved = []
        for stage in self.stages:
            x, kept = stage.forward(x, job)
            if job.hold:
                saved.append(kept)
        return x, saved

    def backward(self, dy: Any, saved: Any, job: Job, need_dx: bool, /) -> Any:
        """Go back to the first stage with parameters, or to x if dx is wanted."""
        wanted = [need_dx]  # by each stage, of what it reads
        for stage in self.stages:
            wanted.append(wanted[-1] or any(part.parameters for part in stage.walk()))
        for i in reversed(range(len(self.stages))):
            if not wanted[i + 1]:
                return None
            dy = self.stages[i].backward(dy, saved[i], job, wanted[i])
        return dy


class Unroll(Stage):
    """From images to features in the order of Flatten: channels first.

    Parameters
    ----------
    shape : (C, H, W)
        Of one image.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def forward(self, x: Any, job: Job, /) -> tuple[Any, Any]:
        """Return features."""
        return layout.to_nchw(x).reshape(len(x), -1, 1, 1), None

    def backward(self, dy: Any, saved: Any, job: Job, need_dx: bool, /) -> Any:
        """Return images."""
        return layout.to_nhwc(dy.reshape(len(dy), *self.shape))

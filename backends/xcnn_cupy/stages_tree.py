"""Sums and concatenations as stages of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xcnn_cupy import activations
from xcnn_cupy.joins import add, split, stack
from xcnn_cupy.stages import Chain, Job, Stage

__all__ = ["Add", "Concat", "Sum"]


class Add(Stage):
    """The sum of two arrays, rectified where fused.

    Attributes
    ----------
    relu : bool
        Whether a ReLU is fused.
    """

    def __init__(self) -> None:
        self.relu = False

    def join(self, x: Any, residual: Any, job: Job, /) -> tuple[Any, Any]:
        """Return the sum and what `part` needs."""
        y = add(x, residual, relu=self.relu)
        return y, y if self.relu else None

    def part(self, dy: Any, saved: Any, job: Job, /) -> tuple[Any, Any]:
        """Return the gradients of both."""
        g = activations.backward("relu", dy, saved) if self.relu else dy
        return g, g


class Branches(Stage):
    """Chains side by side on the same x.

    Parameters
    ----------
    branches : list of Chain
        One at least.
    """

    def __init__(self, branches: list[Chain]) -> None:
        self.branches = branches

    def walk(self) -> Iterator[Stage]:
        """Yield this stage and those of the branches."""
        yield self
        for branch in self.branches:
            yield from branch.walk()

    def spread(self, x: Any, job: Job) -> tuple[list[Any], list[Any]]:
        """Return what the branches make of x, and what they saved."""
        made = [branch.forward(x, job) for branch in self.branches]
        return [y for y, _ in made], [saved for _, saved in made]

    def gather(self, dys: list[Any], saved: list[Any], job: Job, need_dx: bool) -> Any:
        """Return the sum of the branches' dx."""
        total = None
        for branch, dy, kept in zip(self.branches, dys, saved, strict=True):
            dx = branch.backward(dy, kept, job, need_dx)
            if need_dx:
                total = dx if total is None else add(total, dx)
        return total


class Sum(Branches):
    """The sum of branches; the last one may end in a batch norm, which then adds the others itself.

    Parameters
    ----------
    branches : list of Chain
        Two at least.
    join : Add or Norm
        What adds what the last branch gives to the sum of the others.
    """

    def __init__(self, branches: list[Chain], join: Any) -> None:
        super().__init__(branches)
        self.join = join

    def walk(self) -> Iterator[Stage]:
        """Yield this stage, those of the branches, and the join."""
        yield from super().walk()
        yield self.join

    def forward(self, x: Any, job: Job, /) -> tuple[Any, Any]:
        """Return the sum, rectified where fused."""
        (total, *others, last), saved = self.spread(x, job)
        for other in others:
            total = add(total, other)
        y, joined = self.join.join(last, total, job)
        return y, (saved, joined)

    def backward(self, dy: Any, saved: Any, job: Job, need_dx: bool, /) -> Any:
        """Return the sum of the branches' dx."""
        saved, joined = saved
        dx, dresidual = self.join.part(dy, joined, job)
        return self.gather([dresidual] * (len(self.branches) - 1) + [dx], saved, job, need_dx)


class Concat(Branches):
    """The outputs of branches, stacked along the channels.

    Parameters
    ----------
    branches : list of Chain
        One at least.
    """

    def forward(self, x: Any, job: Job, /) -> tuple[Any, Any]:
        """Return the stack."""
        ys, saved = self.spread(x, job)
        return (stack(ys) if len(ys) > 1 else ys[0]), saved

    def backward(self, dy: Any, saved: Any, job: Job, need_dx: bool, /) -> Any:
        """Return the sum of the branches' dx."""
        dys = split(dy, [branch.shape[0] for branch in self.branches]) if len(saved) > 1 else [dy]
        return self.gather(dys, saved, job, need_dx)

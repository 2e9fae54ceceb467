"""What the stages of a run have in common."""

from __future__ import annotations

from xcnn_numpy.sliding import LOWEST
from xcnn_numpy.workspace import Value, Workspace

__all__ = ["Stage"]


class Stage:
    """One step of a run: reads `x`, writes `y`.

    Parameters
    ----------
    x, y : Value
        What it reads and writes.
    """

    floor = LOWEST  # 0 where a ReLU is fused
    pool: tuple[int, int, int, int] | None = None  # window and stride of a fused max pooling

    def __init__(self, x: Value, y: Value) -> None:
        self.x, self.y = x, y
        y.stage = self
        self.needs_dx = True

    def reads(self) -> list[Value]:
        """Return the values that it reads."""
        return [self.x]

    def forward(self, ws: Workspace) -> None:
        """Add what makes y."""
        raise NotImplementedError

    def backward(self, ws: Workspace) -> None:
        """Add what makes the gradients of parameters and of x from that of y."""
        raise NotImplementedError

    def fuse_pool(self, pool: tuple[int, int, int, int], y: Value) -> None:
        """Pool what it writes, into y."""
        self.pool, self.y = pool, y
        y.stage = self

    @property
    def rectified(self) -> bool:
        """Whether a ReLU is fused."""
        return self.floor == 0.0

    def pixels(self, ws: Workspace, value: Value) -> tuple[int, int, int, int]:
        """Return blocks, channels, rows and columns."""
        return ws.blocks, value.c, value.h, value.w

    def work(self, ws: Workspace, value: Value, factor: float = 1.0) -> float:
        """Return the vector operations that touch each pixel `factor` times."""
        return 4.0 * ws.blocks * value.size * factor  # loads and stores take longer than multiplications

"""PyTorch's tensors as plain arrays, on the processor or a CUDA GPU; its autograd is not used."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np

from xcnn import backend
from xcnn.errors import BackendError

__all__ = ["Backend"]


class _Process:
    """What forks leave of a process: a child has none of its parent's threads."""

    forked = False

    @classmethod
    @cache
    def watch(cls) -> None:
        """Let children compute on one thread: OpenMP would wait for ever for those of the parent."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=cls._begin)

    @classmethod
    def _begin(cls) -> None:
        cls.forked = True
        Backend.set_num_threads(1)


class Backend(backend.Backend):
    """PyTorch tensors: ``"torch"`` on the processor, ``"torch:cuda"`` or ``"torch:cuda:1"`` on a GPU."""

    root = "torch"
    owns = ("torch",)
    many_devices = True

    def __init__(self, device: str = "") -> None:
        try:
            import array_api_compat.torch as xp
            import torch
        except ImportError as error:
            msg = f'{error}; needed: pip install "xcnn[torch]"'
            raise BackendError(msg, where="backend 'torch'") from error
        self.xp, self._torch = xp, torch
        _Process.watch()
        try:
            self._device = torch.empty(0, device=device or "cpu").device
        except (RuntimeError, AssertionError) as error:  # an unknown device, or a torch without CUDA
            first = str(error).splitlines()[0]
            raise BackendError(f"device {device!r}: {first}", where="backend 'torch'") from error
        self.host = self._device.type == "cpu"
        self.name = "torch" if self.host else f"torch:{self._device}"

    def asarray(self, a: Any, /, dtype: str | None = None) -> Any:
        """Return `a` on this device, without its autograd history."""
        self._torch.get_num_threads()  # a Python thread new to PyTorch learns from it how many threads to use
        kind = None if dtype is None else getattr(self._torch, dtype)
        if isinstance(a, self._torch.Tensor):
            return a.detach().to(device=self._device, dtype=kind)
        a = np.asarray(a, dtype=dtype)
        if not (a.flags.writeable and a.dtype.isnative) or min(a.strides, default=0) < 0:
            a = a.astype(a.dtype.newbyteorder("="))  # torch can share none of these
        return self._torch.asarray(a, dtype=kind, device=self._device)

    @classmethod
    def to_numpy(cls, a: Any, /) -> np.ndarray:
        """Return `a` on the host."""
        a = a.detach().cpu()
        try:
            return a.numpy()
        except TypeError:  # bfloat16, which NumPy lacks
            return a.float().numpy()

    @classmethod
    def device(cls, a: Any, /) -> str:
        """Return ``"cuda:0"`` and so on; the processor's is empty."""
        return "" if a.device.type == "cpu" else str(a.device)

    def synchronize(self) -> None:
        """Wait for the GPU."""
        if self._device.type == "cuda":
            self._torch.cuda.synchronize(self._device)

    def memory_info(self) -> tuple[int, int, int, int] | None:
        """Return bytes in tensors, kept by PyTorch, free on the GPU, and there altogether."""
        if self._device.type != "cuda":
            return None
        cuda = self._torch.cuda
        return (
            cuda.memory_allocated(self._device),
            cuda.memory_reserved(self._device),
            *cuda.mem_get_info(self._device),
        )

    def free_memory(self) -> None:
        """Give what PyTorch keeps for later tensors back, on every GPU."""
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()

    @classmethod
    def set_num_threads(cls, n: int, /) -> None:
        """Let PyTorch use n threads; in a forked child it goes on with one."""
        import torch

        torch.set_num_threads(1 if _Process.forked else n)

    @classmethod
    def get_num_threads(cls) -> int:
        """Return how many threads PyTorch uses."""
        import torch

        return int(torch.get_num_threads())

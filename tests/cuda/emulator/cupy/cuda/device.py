"""Two emulated devices; which one is current is a thread's own."""

from __future__ import annotations

import threading
from typing import Any

from cupy.cuda import runtime

_local = threading.local()


class Device:
    """One device, by its number; None is the current one."""

    def __init__(self, device: Any = None) -> None:
        self.id = current().id if device is None else int(getattr(device, "id", device))
        if not 0 <= self.id < runtime.DEVICES:
            raise runtime.CUDARuntimeError(101)

    def use(self) -> None:
        _local.device = self

    def __enter__(self) -> Device:
        _local.__dict__.setdefault("entered", []).append(current())
        self.use()
        return self

    def __exit__(self, *args: object) -> None:
        _local.device = _local.entered.pop()

    @property
    def compute_capability(self) -> str:
        return "90"

    @property
    def mem_info(self) -> tuple[int, int]:
        with self:
            return runtime.memGetInfo()

    @property
    def attributes(self) -> dict[str, int]:
        return {"MultiProcessorCount": 132, "MaxThreadsPerBlock": 1024, "MaxSharedMemoryPerBlock": 49152}

    @property
    def pci_bus_id(self) -> str:
        return f"0000:0{self.id}:00.0"

    def synchronize(self) -> None:
        """Wait for every stream."""
        from cupy.cuda import stream

        for one in stream.living():
            one.synchronize()

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"


def current() -> Device:
    """Return the device of this thread."""
    if not hasattr(_local, "device"):
        _local.device = Device(0)
    return _local.device


def get_device_id() -> int:
    return current().id

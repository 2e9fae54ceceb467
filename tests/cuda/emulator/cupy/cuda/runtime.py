"""The emulated runtime: two devices that always answer."""

from __future__ import annotations

from typing import Any

DEVICES = 2
TOTAL = 80 * 2**30  # bytes of each

streamCaptureModeGlobal, streamCaptureModeThreadLocal, streamCaptureModeRelaxed = 0, 1, 2
memcpyHostToHost, memcpyHostToDevice, memcpyDeviceToHost, memcpyDeviceToDevice, memcpyDefault = range(5)
hostAllocDefault, hostAllocPortable, hostAllocMapped, hostAllocWriteCombined = 0, 1, 2, 4
is_hip = False

MESSAGES = {
    2: ("cudaErrorMemoryAllocation", "out of memory"),
    35: ("cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"),
    100: ("cudaErrorNoDevice", "no CUDA-capable device is detected"),
    101: ("cudaErrorInvalidDevice", "invalid device ordinal"),
    400: ("cudaErrorInvalidResourceHandle", "invalid resource handle"),
    700: ("cudaErrorIllegalAddress", "an illegal memory access was encountered"),
    900: ("cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"),
    901: ("cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"),
    905: ("cudaErrorStreamCaptureIsolation", "dependency created on uncaptured work in another stream"),
}


class CUDARuntimeError(RuntimeError):
    """What a call of the runtime answers when it fails."""

    def __init__(self, status: int, detail: str = "") -> None:
        self.status = status
        super().__init__(
            ": ".join([*MESSAGES.get(status, (f"error {status}", "unknown"))] + [detail] * bool(detail))
        )


def getDeviceCount() -> int:
    return DEVICES


def driverGetVersion() -> int:
    return 13000


def runtimeGetVersion() -> int:
    return 13000


def _getLocalRuntimeVersion() -> int:
    return 13000


def getDevice() -> int:
    from cupy.cuda import device

    return device.current().id


def setDevice(number: int) -> None:
    from cupy.cuda import device

    device.Device(number).use()


def memGetInfo() -> tuple[int, int]:
    """Return the free and the total bytes of the current device."""
    from cupy.cuda import memory

    return TOTAL - memory.in_use[getDevice()], TOTAL


def deviceSynchronize() -> None:
    from cupy.cuda import device

    device.current().synchronize()


def deviceGetAttribute(attribute: int, number: int) -> int:
    return {16: 132, 75: 9, 76: 0}.get(attribute, 0)


def deviceCanAccessPeer(number: int, peer: int) -> int:
    return 0


def getDeviceProperties(number: int) -> dict[str, Any]:
    return {
        "name": b"emulated by NumPy and g++",
        "totalGlobalMem": TOTAL,
        "multiProcessorCount": 132,
        "major": 9,
        "minor": 0,
        "maxThreadsPerBlock": 1024,
        "sharedMemPerBlock": 49152,
        "warpSize": 32,
        "maxGridSize": (2**31 - 1, 65535, 65535),
        "clockRate": 0,
        "memoryClockRate": 0,
        "memoryBusWidth": 0,
        "l2CacheSize": 0,
    }


def memcpy(target: int, source: int, size: int, kind: int) -> None:
    """Copy, and wait for it."""
    from cupy.cuda import stream

    stream.get_current_stream().synchronize()
    stream.move(target, source, size)


def memcpyAsync(target: int, source: int, size: int, kind: int, stream_ptr: int) -> None:
    """Copy in the order of a stream."""
    from cupy.cuda import stream

    queue = stream.by_pointer(stream_ptr)
    if kind in (memcpyHostToDevice, memcpyDeviceToHost):
        queue.defer(target, source, size)
    else:
        queue.submit(lambda: stream.move(target, source, size))


def memsetAsync(pointer: int, value: int, size: int, stream_ptr: int) -> None:
    """Fill in the order of a stream."""
    import ctypes

    from cupy.cuda import stream

    stream.by_pointer(stream_ptr).submit(lambda: ctypes.memset(pointer, value, size))


def streamSynchronize(stream_ptr: int) -> None:
    from cupy.cuda import stream

    stream.by_pointer(stream_ptr).synchronize()


def streamIsCapturing(stream_ptr: int) -> bool:
    from cupy.cuda import stream

    return stream.by_pointer(stream_ptr).is_capturing()

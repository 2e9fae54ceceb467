"""xcnn: a convolutional-network framework that can be read from the first layer to the last gradient."""

from __future__ import annotations

import importlib
from typing import Any

from xcnn import (
    calibration,
    callbacks,
    data,
    errors,
    explain,
    initializers,
    layers,
    losses,
    metrics,
    ops,
    optim,
    schedules,
)
from xcnn.backend import (
    Backend,
    available_backends,
    backend_problems,
    get_backend,
    readable,
    set_backend,
    use_backend,
)
from xcnn.diagnosis import diagnose
from xcnn.errors import (
    BackendError,
    ConfigError,
    DataError,
    DeviceMismatchError,
    DTypeError,
    Error,
    FileError,
    GradientError,
    NonFiniteError,
    OptionError,
    OutOfMemoryError,
    ShapeError,
)
from xcnn.gradcheck import gradcheck
from xcnn.io import load
from xcnn.layer import Layer, Pass
from xcnn.memory import MemoryInfo, free_memory, memory_info
from xcnn.model import Model
from xcnn.threads import get_num_threads, set_num_threads
from xcnn.training import History, Trainer

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "BackendError",
    "ConfigError",
    "DTypeError",
    "DataError",
    "DeviceMismatchError",
    "Error",
    "FileError",
    "GradientError",
    "History",
    "Layer",
    "MemoryInfo",
    "Model",
    "NonFiniteError",
    "OptionError",
    "OutOfMemoryError",
    "Pass",
    "ShapeError",
    "Trainer",
    "available_backends",
    "backend_problems",
    "calibration",
    "callbacks",
    "data",
    "diagnose",
    "errors",
    "explain",
    "free_memory",
    "get_backend",
    "get_num_threads",
    "gradcheck",
    "initializers",
    "io",
    "layers",
    "load",
    "losses",
    "memory_info",
    "metrics",
    "ops",
    "optim",
    "plots",
    "readable",
    "schedules",
    "set_backend",
    "set_num_threads",
    "sklearn",
    "use_backend",
]


def __dir__() -> list[str]:
    """Return the public names, `plots` and `sklearn` included."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import `xcnn.plots` and `xcnn.sklearn` at their first use: they need matplotlib and scikit-learn."""
    if name in ("plots", "sklearn"):
        return importlib.import_module(f"xcnn.{name}")
    msg = f"module 'xcnn' has no attribute {name!r}"
    raise AttributeError(msg)

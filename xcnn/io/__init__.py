"""Model files and run configurations."""

from __future__ import annotations

import importlib
from typing import Any

from xcnn.io.model_file import load, save
from xcnn.io.weights import get_weights, load_weights, save_weights

__all__ = ["RunConfig", "get_weights", "load", "load_config", "load_weights", "save", "save_weights"]


def __getattr__(name: str) -> Any:
    """Import the configuration at its first use: pydantic takes longer to import than all of xcnn."""
    if name == "onnx":
        return importlib.import_module("xcnn.io.onnx")
    if name in ("RunConfig", "load_config"):
        return getattr(importlib.import_module("xcnn.io.config"), name)
    msg = f"module 'xcnn.io' has no attribute {name!r}"
    raise AttributeError(msg)

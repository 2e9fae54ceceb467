"""Model files and run configurations."""

from __future__ import annotations

import importlib
from typing import Any

from xcnn.io.model_file import load, save

__all__ = ["RunConfig", "load", "load_config", "save"]


def __getattr__(name: str) -> Any:
    """Import the configuration at its first use: pydantic takes longer to import than all of xcnn."""
    if name in ("RunConfig", "load_config"):
        return getattr(importlib.import_module("xcnn.io.config"), name)
    msg = f"module 'xcnn.io' has no attribute {name!r}"
    raise AttributeError(msg)

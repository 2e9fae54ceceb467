"""Model files and run configurations."""

from xcnn.io.model_file import load, save

__all__ = ["load", "save"]

"""A page to try models on: draw, and see what every layer makes of it. `xcnn draw` opens it, or `serve`."""

from xcnn.draw.server import Running, serve

__all__ = ["Running", "serve"]

"""The page's files, as they lie in the package."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from xcnn.draw.refusals import Refused

__all__ = ["Files"]

_TYPES = {
    "css": "text/css",
    "html": "text/html",
    "ico": "image/x-icon",
    "js": "text/javascript",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "woff2": "font/woff2",
}


class Files:
    """Serve the files of a folder that are there now: a name is looked up in a list, never made a path."""

    def __init__(self) -> None:
        package = files("xcnn.draw")
        self._files: dict[str, Traversable] = {
            file.name: file for file in (package / "page").iterdir() if _suffix(file.name) in _TYPES
        }
        self._help = package / "help.txt"

    async def index(self, request: Request) -> Response:
        """Return the page."""
        return _response(request, self._files["index.html"])

    async def help(self, request: Request) -> Response:
        """Return what programs need to know."""
        return _response(request, self._help)

    async def one(self, request: Request) -> Response:
        """Return the file that the address names."""
        name: Any = request.path_params["name"]
        if name not in self._files:
            raise Refused(404, "there is no such file", request.scope["path"][:200])
        return _response(request, self._files[name])


def _suffix(name: str) -> str:
    return name.rpartition(".")[2]


def _response(request: Request, file: Traversable) -> Response:
    """Return the file, or that the browser has it already."""
    content = file.read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"cache-control": "no-cache", "etag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=_TYPES[_suffix(file.name)])

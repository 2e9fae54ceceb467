"""A mirror on loopback that can misbehave, and a machine without data."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Mirror:
    """A web server: what it serves by path, and what it was asked for."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    resumes: bool = True  # honours range requests
    breaks_after: int | None = None  # closes a connection after so many bytes
    on_request: Callable[[], None] = lambda: None
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range header


class _Handler(http.server.BaseHTTPRequestHandler):
    mirror: Mirror

    def do_GET(self) -> None:
        mirror, wanted = self.mirror, self.headers.get("Range")
        mirror.asked.append((self.path, wanted))
        mirror.on_request()
        data = mirror.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and mirror.resumes else 0
        if start >= len(data) > 0:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        stop = None if mirror.breaks_after is None else start + mirror.breaks_after
        with contextlib.suppress(ConnectionError):  # whoever asked may have had enough
            self.wfile.write(data[start:stop])

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A web server on loopback."""
    monkeypatch.setenv("no_proxy", "*")
    mirror = Mirror()
    handler = type("Handler", (_Handler,), {"mirror": mirror})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        mirror.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield mirror
        server.shutdown()
        thread.join()


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without data: no XCNN_DATA, and an empty cache, which is returned."""
    monkeypatch.delenv("XCNN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "xcnn"

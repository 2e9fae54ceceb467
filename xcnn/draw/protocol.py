"""HTTP as uvicorn speaks it, with limits for what comes before a request is one."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from xcnn.draw.refusals import Refused, refusal

__all__ = ["Protocol"]

_CONNECTIONS = 512
_SECONDS = 10.0  # in which a request's head must be there
_HEAD = 64 << 10  # bytes of it


class Protocol(HttpToolsProtocol):
    """Close connections whose request does not begin in time, never ends its head, or is one too many."""

    _timer: asyncio.TimerHandle | None = None  # runs while a head is awaited
    _come = 0  # bytes of it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait."""
        super().connection_made(transport)
        if len(self.connections) > _CONNECTIONS:
            transport.abort()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to wait."""
        self._wait_no_more()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Wait for the end of the head."""
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        """Hand the request on."""
        self._wait_no_more()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Count what comes of a head."""
        super().data_received(data)
        if self._timer is not None:
            self._come += len(data)
            if self._come > _HEAD:
                self._refuse(431, f"{self._come:,} bytes have come already; needed at most {_HEAD:,}")

    def send_400_response(self, msg: str) -> None:
        """Tell that this is no HTTP."""
        self._refuse(400, f"cannot be read as HTTP: {msg}")

    def _refuse(self, status: int, what: str) -> None:
        """Answer what is no request yet, and close the connection."""
        self._wait_no_more()
        response = refusal(Refused(status, what, "the head of the request"))
        head = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode()), b"connection: close"]
        head += [b": ".join(header) for header in response.raw_headers]
        self.transport.write(b"\r\n".join([*head, b"", bytes(response.body)]))
        self.transport.close()

    def _too_late(self) -> None:
        if not self._come:  # a browser that connects ahead of time would show what it hasn't asked for
            self.transport.close()
            return
        self._refuse(408, f"{self._come:,} bytes came in {_SECONDS:g} s; needed all of it in that time")

    def _wait(self) -> None:
        self._wait_no_more()
        self._come = 0
        self._timer = self.loop.call_later(_SECONDS, self._too_late)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

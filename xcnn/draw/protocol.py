"""HTTP as uvicorn speaks it, with limits that its settings don't have: for all that is no body."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from xcnn.draw.refusals import Refused, refusal

__all__ = ["Protocol"]

_CONNECTIONS = 512
_SECONDS = 10.0  # in which a request's head must be there
_HEAD = 64 << 10  # bytes of it, or of what follows a body; what is read in one piece may exceed it
_UNREAD = 30.0  # seconds in which a client must take what it was sent


class Protocol(HttpToolsProtocol):
    """Close connections that are one too many, or that keep the server waiting.

    The head of a request must come in time and have an end; so must what follows a body in chunks. Requests
    that come before the last one is answered are not read: that answer ends the connection. An answer that
    nobody takes is dropped.
    """

    _head: asyncio.TimerHandle | None = None  # runs while a head is awaited
    _answer: asyncio.TimerHandle | None = None  # runs while an answer waits to be taken
    _come = 0  # bytes since the last body or the last request ended

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
        self._taken()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what is no body."""
        self._come += len(data)
        super().data_received(data)
        if self._come > _HEAD:
            self._refuse(431, f"{self._come:,} bytes have come already; needed at most {_HEAD:,}")
        elif self._rests() and self._come:
            self._wait()

    def on_message_begin(self) -> None:
        """Wait for the end of the head."""
        if not self._rests():
            raise RuntimeError("a request before the last one is answered")  # to `_refuse`
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        """Hand the request on."""
        self._wait_no_more()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take some of a body, which has limits of its own."""
        self._come = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._come = 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Wait until the client takes what waits for it."""
        super().pause_writing()
        self._answer = self.loop.call_later(_UNREAD, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        self._taken()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Tell that this is no HTTP."""
        self._refuse(400, f"cannot be read as HTTP: {msg}")

    def _rests(self) -> bool:
        """Return whether there is no request to be answered."""
        return self.cycle is None or self.cycle.response_complete

    def _refuse(self, status: int, what: str) -> None:
        """Answer what is no whole request, or the one before it that is, and close the connection."""
        self._wait_no_more()
        if self.transport.is_closing():
            return
        if not self._rests() and not self.cycle.more_body:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
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
        if self._head is None:
            self._head = self.loop.call_later(_SECONDS, self._too_late)

    def _wait_no_more(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _taken(self) -> None:
        if self._answer is not None:
            self._answer.cancel()
            self._answer = None

"""How much is taken in: bodies whole, in time and within limits, and so many requests at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xcnn.draw.limits import Limits
from xcnn.draw.refusals import BUSY, Refused, refusal, refuse

__all__ = ["Intake"]


@dataclass
class _Body:
    """What has come of a body."""

    pieces: list[bytes] = field(default_factory=list)  # until `app` takes them
    size: int = 0


class Intake:
    """Read the whole body before `app` sees the request, so that a slow or endless one occupies nobody.

    Parameters
    ----------
    app : ASGI application
        It gets the body in one piece.
    limits : Limits
        What is refused: 413 for a body that is too large, 408 for one that does not arrive, 503 where too
        much is going on already.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits) -> None:
        self.app, self.limits = app, limits
        self.held = 0  # bytes of bodies
        self.working = 0  # requests without an answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body()
        try:
            if await self._read(scope, receive, body):
                await self._pass_on(scope, body, receive, send)
        except Refused as error:
            self._forget(body)  # before the client has taken the answer
            await refuse(error, scope, receive, send)
        finally:
            self._forget(body)

    async def _pass_on(self, scope: Scope, body: _Body, receive: Receive, send: Send) -> None:
        """Let `app` answer, or say that it has too much to do."""
        if self.working >= self.limits.requests:
            msg = f"{self.working} requests are being worked on; needed patience: try again in a second"
            await refusal(Refused(503, msg, "xcnn draw", headers=BUSY))(scope, receive, send)
            return
        given = answered = False

        async def whole() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            content = b"".join(body.pieces)
            body.pieces.clear()
            return {"type": "http.request", "body": content, "more_body": False}

        async def answer(message: Message) -> None:
            done()  # clients that are slow to read it keep nobody waiting
            await send(message)

        def done() -> None:
            nonlocal answered
            self.working -= not answered
            answered = True

        self.working += 1
        try:
            await self.app(scope, whole, answer)
        finally:
            done()

    async def _read(self, scope: Scope, receive: Receive, body: _Body) -> bool:
        """Read the body to its end; return False where the client went away."""
        limit = self.limits.body
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal():
            raise Refused(400, f"got {announced[:40]!r}; needed a whole number", "Content-Length")
        if len(announced) > 20 or int(announced) > limit:
            self._refuse_size(f"{announced[:20]} bytes were announced")
        try:
            async with asyncio.timeout(self.limits.seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return False
                    part = message.get("body", b"")
                    body.pieces.append(part)
                    body.size += len(part)
                    self.held += len(part)
                    if body.size > limit:
                        self._refuse_size(f"{body.size:,} bytes have come already")
                    if self.held > self.limits.bodies:
                        msg = f"bodies of {self.held:,} bytes together are being read; try again in a second"
                        raise Refused(503, msg, "body", headers=BUSY)
                    more = message.get("more_body", False)
        except TimeoutError:
            msg = f"{body.size:,} bytes came in {self.limits.seconds:g} s; needed all of it in that time"
            raise Refused(408, msg, "body") from None
        return True

    def _forget(self, body: _Body) -> None:
        self.held -= body.size
        body.pieces.clear()
        body.size = 0

    def _refuse_size(self, came: str) -> None:
        raise Refused(413, f"{came}; needed at most {self.limits.body:,}", "body")

"""An address and what it answers to each method."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from xcnn.draw.refusals import Refused, refusal, report
from xcnn.errors import Error

__all__ = ["Handler", "Resource"]

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


class Resource:
    """Answer requests of one address; errors are told as JSON, and those nobody expected are kept secret.

    Parameters
    ----------
    **handlers : callable
        By method: ``GET=...`` (for HEAD, too), ``POST=...``; each takes a Request and returns a Response.
    """

    def __init__(self, **handlers: Handler) -> None:
        self.handlers = handlers | ({"HEAD": handlers["GET"]} if "GET" in handlers else {})
        self.allow = ", ".join(sorted([*self.handlers, "OPTIONS"]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._answer(Request(scope, receive))
        except ClientDisconnect:
            return
        except Error as error:
            response = refusal(error)
        except Exception as error:
            response = report(error)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        handler = self.handlers.get(request.method)
        if handler is not None:
            return await handler(request)
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"allow": self.allow})
        msg = f"got {request.method}; needed one of {self.allow}"
        raise Refused(405, msg, request.scope["path"], headers={"allow": self.allow})

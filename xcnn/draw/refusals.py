"""What is refused over HTTP: errors with a status, and how every error is told."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from xcnn.draw.numbers import to_json
from xcnn.errors import Error

__all__ = ["BUSY", "Refused", "refusal", "refuse", "report"]

BUSY = {"retry-after": "1"}
"""Headers of an answer with status 503: when to try again, in seconds."""

_LINGER = 2.0  # seconds: closing while a client still sends would take the answer from under its eyes


class Refused(Error):
    """A request that is not answered.

    Parameters
    ----------
    status : int
        Of the response: 400 for what is malformed, 404 for what is not there, 413 for what is too large, ...
    what : str
        What came and what was needed.
    where : str, optional
        The part of the request that is refused.
    headers : mapping, optional
        Further headers of the response.
    """

    def __init__(
        self, status: int, what: str, /, where: str = "", *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(what, where)
        self.status = status
        self.headers = dict(headers or {})


def refusal(error: Error, /) -> Response:
    """Return the response that tells `error`: 400, unless it has a status of its own."""
    content = to_json({"error": {"where": error.where, "what": error.what}})
    status, headers = (error.status, error.headers) if isinstance(error, Refused) else (400, None)
    return Response(content, status, headers, media_type="application/json")


def report(error: Exception, /) -> Response:
    """Print `error`, which nobody expected, on standard error, and return a response that keeps it secret."""
    traceback.print_exception(error, file=sys.stderr)
    what = "something went wrong inside the server, which has printed what; other requests are not affected"
    return refusal(Refused(500, what, "xcnn draw"))


async def refuse(error: Error, scope: Scope, receive: Receive, send: Send, /) -> None:
    """Answer by `error` a request whose body has not been read, and close the connection if there is one.

    Parameters
    ----------
    error : Error
        Why.
    scope, receive, send : object
        Of the ASGI application. What comes of the body is dropped.
    """
    response = refusal(error)
    names = {name for name, _ in scope["headers"]}
    if not names & {b"content-length", b"transfer-encoding"}:
        await response(scope, receive, send)
        return
    headers = [*response.raw_headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    try:
        async with asyncio.timeout(0 if response.status_code == 408 else _LINGER):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b""})

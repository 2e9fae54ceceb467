"""Who may ask: the page itself and programs on this machine; from elsewhere, whoever has the token."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import Collection
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xcnn.draw.refusals import Refused, refuse

__all__ = ["LOCAL", "Guard"]

LOCAL = ("127.0.0.1", "localhost", "[::1]")
"""What this machine calls itself."""

_CONTENT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _CONTENT,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_RAW = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
_NO_STORE = (b"cache-control", b"no-store")


class Guard:
    """Let requests through to `app` that come from where they may, and put headers of safety on all answers.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    hosts : collection of str or None
        What the header Host may say, with a port or (any port) without: a name that somebody else points at
        this machine must not open it to his page. None: anything, where a token is asked for.
    token : str, optional
        Asked for as ``Authorization: Bearer TOKEN``, or as a cookie, which ``/?token=TOKEN`` sets.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Collection[str] | None = LOCAL, token: str | None = None
    ) -> None:
        self.app = app
        self.hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                stored = any(name == b"cache-control" for name, _ in own)
                message = {**message, "headers": own + _RAW + ([] if stored else [_NO_STORE])}
            await send(message)

        try:
            self._check_host(headers)
            entrance = self._check_token(scope, headers)
            self._check_origin(scope, headers)
        except Refused as error:
            await refuse(error, scope, receive, safe)
            return
        with contextlib.suppress(asyncio.CancelledError):  # the server ends: nobody waits for an answer
            await (entrance or self.app)(scope, receive, safe)

    def _check_host(self, headers: Headers) -> None:
        named = headers.getlist("host")
        if len(named) != 1:
            raise Refused(400, f"came {len(named)} times; needed once", "Host")
        host = named[0].lower()
        if self.hosts is not None and not {host, _without_port(host)} & self.hosts:
            msg = f"got {named[0][:100]!r}; this server answers to {', '.join(sorted(self.hosts))}"
            raise Refused(403, msg, "Host")

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """Refuse what another site's page sends; pages of this one and programs have its origin, or none."""
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return
        own = f"{scope['scheme']}://{headers['host']}".lower()
        for origin in headers.getlist("origin"):
            if origin.lower() != own:
                msg = f"got {origin[:100]!r}; other sites' pages may send nothing here, only {own}"
                raise Refused(403, msg, "Origin")

    def _check_token(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        """Refuse who has no token; return the response that hands it over as a cookie, if that is wanted."""
        if self.token is None:
            return None
        cookie = f"xcnn_draw_{(scope.get('server') or ('', 0))[1]}"  # cookies know no ports
        if scope["path"] == "/" and scope["method"] == "GET":
            given = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=None).get("token", [])
            if len(given) == 1 and self._is_token(given[0]):
                entrance = Response(status_code=303, headers={"location": "/"})
                entrance.set_cookie(cookie, self.token, path="/", httponly=True, samesite="strict")
                return entrance
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        shown = bearer.strip() if scheme.lower() == "bearer" else _cookie(headers, cookie)
        if not self._is_token(shown):
            msg = "it is missing or wrong; needed `Authorization: Bearer TOKEN`, or in a browser the address "
            raise Refused(
                401, msg + "that xcnn draw printed", "token", headers={"www-authenticate": "Bearer"}
            )
        return None

    def _is_token(self, text: str) -> bool:
        """Compare in a time that tells nothing."""
        return hmac.compare_digest(text.encode(), (self.token or "").encode())


def _without_port(host: str) -> str:
    """Return `host`, "name:80" or "[::1]:80", up to the port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _cookie(headers: Headers, name: str) -> str:
    """Return a cookie, or "". Others' on this machine may look like anything, and are no obstacle."""
    pairs = (pair.strip().partition("=") for line in headers.getlist("cookie") for pair in line.split(";"))
    return next((value for key, _, value in pairs if key == name), "")

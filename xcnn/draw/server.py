"""The server: a socket, uvicorn on it, and how both end."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import secrets
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import uvicorn
from starlette.applications import Starlette

from xcnn.draw.app import application
from xcnn.draw.guard import LOCAL
from xcnn.draw.limits import Limits
from xcnn.draw.protocol import Protocol
from xcnn.draw.served import Served
from xcnn.errors import Error, OptionError
from xcnn.model import Model

__all__ = ["PORT", "Address", "Running", "listen", "run", "serve"]

PORT = 8080
"""Tried first where none is asked for."""

_TRIED = 20  # ports from that one on
_PATIENCE = 30.0  # seconds until a server must have started
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,200}")

Models: TypeAlias = "Model | Served | Sequence[Model | Served] | Mapping[str, Model]"


@dataclass(frozen=True)
class Address:
    """Where a server listens, and who may come in.

    Parameters
    ----------
    socket : socket.socket
        Bound, so that nobody else has the port.
    host : str
        As it was asked for.
    token : str or None
        Needed by every request; always, where others than this machine can connect.
    """

    socket: socket.socket
    host: str
    token: str | None

    @property
    def port(self) -> int:
        """The port."""
        port: int = self.socket.getsockname()[1]
        return port

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return _is_loopback(self.socket)

    @property
    def url(self) -> str:
        """What to open in a browser, the token included."""
        ip = ipaddress.ip_address(self.socket.getsockname()[0])
        name = _own_name() if ip.is_unspecified else self.host
        name = f"[{name}]" if ":" in name else name
        return f"http://{name}:{self.port}/" + ("" if self.token is None else f"?token={self.token}")

    @property
    def hosts(self) -> frozenset[str] | None:
        """What requests may call this server; whatever they like where they need a token."""
        if not self.loopback:
            return None
        names = {*LOCAL, f"[{self.host}]" if ":" in self.host else self.host}
        return frozenset(f"{name}:{self.port}" for name in names) | (
            names if self.port == 80 else frozenset()
        )


def listen(host: str = LOCAL[0], port: int | None = None, /, *, token: str | None = None) -> Address:
    """Bind a socket.

    Parameters
    ----------
    host : str
        A name or address of this machine; "0.0.0.0" is all of them.
    port : int, optional
        0 takes any; by default the first free one from 8080 on.
    token : str, optional
        What requests must show; made up where others than this machine can connect.

    Returns
    -------
    Address
        Nothing is answered yet.

    Raises
    ------
    OptionError
        If the host is not this machine's, the port is taken, or the token is too simple.
    """
    if token is not None and not _TOKEN.fullmatch(token):
        msg = f"token has {len(token)} characters; needed 8 to 200 letters, digits and . _ ~ -"
        raise OptionError(msg, where="serve")
    try:
        family, _, _, _, place = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        msg = f"unknown host {host!r}: {error}; needed an address of this machine, such as 127.0.0.1"
        raise OptionError(msg, where="serve") from error
    both = place[0] == "::" and socket.has_dualstack_ipv6()
    ports = range(PORT, PORT + _TRIED) if port is None else [port]
    for tried in ports:
        try:
            bound = socket.create_server((place[0], tried), family=family, backlog=128, dualstack_ipv6=both)
        except (OSError, OverflowError) as error:
            failure = error
            continue
        made_up = None if _is_loopback(bound) else secrets.token_urlsafe(16)
        return Address(bound, host, token or made_up)
    named = f"port {port}" if port is not None else f"ports {PORT} to {PORT + _TRIED - 1}"
    number = getattr(failure, "errno", None)
    reason = os.strerror(number) if number else failure
    msg = f"cannot listen on {host}, {named}: {reason}; needed a free one (0 takes any)"
    raise OptionError(msg, where="serve") from failure


def _is_loopback(bound: socket.socket) -> bool:
    return ipaddress.ip_address(bound.getsockname()[0].partition("%")[0]).is_loopback


def _own_name() -> str:
    """Return the address by which others reach this machine; nothing is sent."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        own: str = probe.getsockname()[0]
        return own
    return socket.gethostname()


class _Server(uvicorn.Server):
    """Say when it listens, and end at once."""

    def __init__(self, app: Starlette, ready: Callable[[], object]) -> None:
        config = uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            lifespan="on",
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=5,
        )
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; who is still sending or waiting is cut off."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()
        await super().shutdown(sockets)


def run(app: Starlette, address: Address, ready: Callable[[], object], /) -> None:
    """Serve `app` at `address` until Ctrl-C, calling `ready` once requests are answered.

    Parameters
    ----------
    app : Starlette
        From `application`.
    address : Address
        From `listen`.
    ready : callable
        Called without arguments.
    """
    with address.socket, contextlib.suppress(KeyboardInterrupt):
        _Server(app, ready).run([address.socket])


class Running:
    """A server at work in a thread; a context manager that closes it.

    Parameters
    ----------
    app : Starlette
        From `application`.
    address : Address
        From `listen`.
    """

    def __init__(self, app: Starlette, address: Address) -> None:
        self.url = address.url
        self.port = address.port
        self.token = address.token
        started = threading.Event()
        self._server = _Server(app, started.set)
        self._thread = threading.Thread(
            target=self._server.run, args=([address.socket],), name="xcnn-draw", daemon=True
        )
        self._thread.start()
        if not started.wait(_PATIENCE):
            self.close()
            raise Error(f"the server did not start in {_PATIENCE:g} s", where="serve")

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<the drawing pad at {self.url}>"

    def close(self) -> None:
        """End the server; what is open is cut off."""
        self._server.should_exit = True
        self._thread.join(_PATIENCE)


def serve(
    models: Models,
    /,
    *,
    host: str = LOCAL[0],
    port: int | None = None,
    examples: str | Path | None = None,
    token: str | None = None,
    limits: Limits | None = None,
) -> Running:
    """Serve the drawing pad from a thread, in a notebook for instance.

    Parameters
    ----------
    models : Model, Served, or several, or a dict of models by name
        They must not be trained or moved meanwhile.
    host : str
        A name or address of this machine; "0.0.0.0" lets others connect, by a token.
    port : int, optional
        0 takes any; by default the first free one from 8080 on.
    token : str, optional
        What requests must show; made up where others than this machine can connect.
    examples : path, optional
        The folder that corrected drawings are saved to; by default nothing is saved.
    limits : Limits, optional
        What is too much for one request.

    Returns
    -------
    Running
        Its `url` is to be opened in a browser; `close`, or the end of a ``with`` block, ends it.

    Raises
    ------
    OptionError
        If there is no model, one is none, or the port is taken.
    ShapeError
        If a model takes no pictures (C, H, W), or gives no classes (K,).

    Examples
    --------
    >>> with xcnn.draw.serve(model) as pad:  # doctest: +SKIP
    ...     print(pad.url)
    """
    served = _served(models)
    for one in served:
        one.warm()
    address = listen(host, port, token=token)
    folder = None if examples is None else Path(examples)
    app = application(served, examples=folder, token=address.token, hosts=address.hosts, limits=limits)
    return Running(app, address)


def _served(models: Any) -> list[Served]:
    """Return `models` with names."""
    several = models if isinstance(models, (Mapping, list, tuple)) else [models]
    named = several.items() if isinstance(several, Mapping) else [("model", one) for one in several]
    for _, one in named:
        if not isinstance(one, (Model, Served)):
            msg = f"got {type(one).__name__}; needed a Model (xcnn.load reads one from a file)"
            raise OptionError(msg, where="serve")
    return [one if isinstance(one, Served) else Served(str(name), one) for name, one in named]

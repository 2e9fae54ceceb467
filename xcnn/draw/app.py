"""The application: which address answers what, behind the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from xcnn.draw.answers import Answers
from xcnn.draw.files import Files
from xcnn.draw.guard import LOCAL, Guard
from xcnn.draw.intake import Intake
from xcnn.draw.limits import Limits
from xcnn.draw.refusals import Refused, refusal
from xcnn.draw.resource import Resource
from xcnn.draw.served import Served
from xcnn.errors import OptionError

__all__ = ["application"]


def application(
    models: Sequence[Served],
    /,
    *,
    examples: Path | None = None,
    token: str | None = None,
    hosts: Collection[str] | None = LOCAL,
    limits: Limits | None = None,
) -> Starlette:
    """Return the ASGI application that serves the page and answers its requests.

    Parameters
    ----------
    models : sequence of Served
        At least one; the first is meant where a request names none. Equal names get numbers.
    examples : Path, optional
        The folder that labelled examples are saved to; None saves nothing.
    token : str, optional
        What every request must show; see `Guard`.
    hosts : collection of str or None
        The names that this server answers to; see `Guard`.
    limits : Limits, optional
        What is too much.

    Returns
    -------
    Starlette
        To be run by uvicorn, in one process.

    Raises
    ------
    OptionError
        If there is no model.
    """
    if not models:
        raise OptionError("got no models; needed one at least", where="application")
    limits = limits or Limits()
    page, answers = Files(), Answers(models, examples=examples, limits=limits)
    routes = [
        Route("/", Resource(GET=page.index)),
        Route("/help", Resource(GET=page.help)),
        Route("/page/{name}", Resource(GET=page.one)),
        Route("/model", Resource(GET=answers.model)),
        Route("/layers", Resource(GET=answers.layers, POST=answers.look)),
        Route("/layers/{id}", Resource(GET=answers.layer, POST=answers.explain)),
        Route("/predict", Resource(POST=answers.predict)),
        Route("/why", Resource(POST=answers.why)),
        Route("/examples", Resource(POST=answers.save)),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        answers.close()

    made = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=hosts, token=token), Middleware(Intake, limits=limits)],
        exception_handlers={HTTPException: _nowhere},
        lifespan=lifespan,
    )
    made.router.redirect_slashes = False
    return made


async def _nowhere(request: Request, _: Exception) -> Response:
    """Tell that there is nothing at an address."""
    return refusal(
        Refused(404, "there is nothing here; GET /help tells what there is", request.scope["path"][:200])
    )

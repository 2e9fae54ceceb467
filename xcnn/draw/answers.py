"""What the server answers: each method takes a request and returns a response."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

import xcnn
from xcnn.draw.batcher import Batcher
from xcnn.draw.examples import Examples
from xcnn.draw.explained import explained
from xcnn.draw.layers import describe_layer
from xcnn.draw.limits import Limits
from xcnn.draw.maps import look
from xcnn.draw.numbers import plain, to_json
from xcnn.draw.pictures import Options, Wanted, read_pictures
from xcnn.draw.query import read_query
from xcnn.draw.refusals import Refused
from xcnn.draw.served import Served, named_apart
from xcnn.draw.why import why
from xcnn.draw.workers import Workers, quietly
from xcnn.errors import DataError, FileError, suggest

__all__ = ["Answers"]

_PICTURE = ("model", "centre", "invert")  # what every request with a picture knows
_SMALL = 32 << 10  # bytes of a body that is read sooner than another thread is woken
_SMALL_PIXELS = 16_384  # of the images in it
_LIGHT = 256 << 10  # bytes of a body, which threads of their own read: drawings don't wait for photographs
_LIGHT_PIXELS = 2_000_000  # of the images in it
_FEW = 4096  # numbers that are written sooner
_SOME = 65_536  # numbers that keep a thread for some milliseconds


class Answers:
    """Everything that is asked of models.

    Parameters
    ----------
    models : sequence of Served
        The first is meant where a request names none.
    examples : Path, optional
        The folder for labelled examples; None saves nothing.
    limits : Limits
        Of pictures.
    """

    def __init__(self, models: Sequence[Served], *, examples: Path | None, limits: Limits) -> None:
        self.models = {served.name: served for served in named_apart(models)}
        self.batchers = {
            name: Batcher(served.probabilities, here=served.quick) for name, served in self.models.items()
        }
        # A quarter of all requests each: whatever there is too much of, there is room for the others.
        most = max(1, limits.requests // 4)
        self.reading = Workers("read", 2, most=most)
        self.reading_much = Workers("read-much", most=most)
        self.explaining = Workers("explain", most=most)
        self.saving = Workers("save", most=max(1, most // 2))
        self.examples, self.limits = examples, limits
        self.small = replace(limits, pixels=min(limits.pixels, _SMALL_PIXELS))
        self.light = replace(limits, pixels=min(limits.pixels, _LIGHT_PIXELS))

    @cached_property
    def kept(self) -> Examples:
        """The folder for labelled examples, made when the first one comes."""
        assert self.examples is not None
        return Examples(self.examples)

    def close(self) -> None:
        """End all threads."""
        for batcher in self.batchers.values():
            batcher.close()
        for workers in (self.reading, self.reading_much, self.explaining, self.saving):
            workers.close()

    async def model(self, request: Request) -> Response:
        """Tell of a model."""
        served = self._served(read_query(request.scope["query_string"], ("model",)))
        strokes = served.wanted.strokes
        content = {
            "name": served.name,
            "models": list(self.models),
            "classes": served.classes,
            **served.described,
            "data": served.data,
            "strokes": None if strokes is None else {"box": strokes.box},
            "examples": self.examples is not None,
            "version": xcnn.__version__,
        }
        return _json(content)

    async def layers(self, request: Request) -> Response:
        """Tell of all layers."""
        served = self._served(read_query(request.scope["query_string"], ("model",)))
        return _json({"model": served.name, "layers": served.described["layers"]})

    async def layer(self, request: Request) -> Response:
        """Tell of one layer."""
        served = self._served(read_query(request.scope["query_string"], ("model",)))
        number = self._layer(request, served)

        def tell() -> bytes:
            return to_json(plain(served.read(describe_layer, number, served.sample)))

        return _sent(await self.explaining(tell))

    async def predict(self, request: Request) -> Response:
        """Say what pictures show."""
        served, query = self._asked(request, *_PICTURE, "inputs")
        x, notes = await self._pictures(request, served, query)
        p = await self.batchers[served.name](x)
        content: dict[str, Any] = {
            "model": served.name,
            "classes": served.classes,
            "predictions": _predictions(served, p),
        }
        if query.get("inputs"):
            content["inputs"] = x
        content["notes"] = notes
        count = p.size + (x.size if query.get("inputs") else 0)
        if count <= _FEW:
            return _json(content)
        workers = self.reading if count <= _SOME else self.reading_much
        return _sent(await workers(lambda: to_json(plain(content))))

    async def look(self, request: Request) -> Response:
        """Show what every layer makes of a picture."""
        served, query = self._asked(request, *_PICTURE)
        x = await self._picture(request, served, query)
        p = await self.batchers[served.name](x[None])

        def tell() -> bytes:
            seen = {"shape": x.shape, "values": x}
            (prediction,) = _predictions(served, p)
            told = {"model": served.name, "input": seen, "prediction": prediction}
            return to_json(plain({**told, **look(served.explain(x))}))

        return _sent(await self.explaining(tell))

    async def explain(self, request: Request) -> Response:
        """Explain one element of what a layer makes of a picture."""
        served, query = self._asked(request, *_PICTURE, "at")
        number = self._layer(request, served)
        x = await self._picture(request, served, query)

        def tell() -> bytes:
            return to_json(plain(explained(served.explain(x), number, query.get("at"))))

        return _sent(await self.explaining(tell))

    async def why(self, request: Request) -> Response:
        """Say which pixels decided."""
        served, query = self._asked(request, *_PICTURE)
        x = await self._picture(request, served, query)

        def tell() -> bytes:
            return to_json(plain(served.read(why, x, served.explain(x))))

        return _sent(await self.explaining(tell))

    async def save(self, request: Request) -> Response:
        """Save a picture as a labelled example."""
        served, query = self._asked(request, *_PICTURE, "label")
        if self.examples is None:
            raise Refused(403, "this server saves nothing; needed --examples FOLDER", "examples")
        label, count = query.get("label"), len(served.classes)
        if label is None or label >= count:
            came = "is missing" if label is None else f"got {label}"
            raise Refused(400, f"{came}; needed the number of a class, 0 to {count - 1}", "label")
        x = await self._picture(request, served, query)
        return _json(await self.saving(self._saved, x, served.classes[label]), 201)

    def _saved(self, x: np.ndarray, name: str) -> dict[str, Any]:
        """Save a picture of a class, and return what is told of it."""
        try:
            kept = self.kept
        except FileError as error:
            raise Refused(507, error.what, error.where) from error
        return {"saved": kept.save(x, name), "folder": kept.folder.name, "counts": kept.counts()}

    def _asked(self, request: Request, *known: str) -> tuple[Served, dict[str, Any]]:
        """Return the model that a request with a picture means, and what else it says."""
        query = read_query(request.scope["query_string"], known)
        return self._served(query), query

    def _served(self, query: dict[str, Any]) -> Served:
        name = query.get("model", next(iter(self.models)))
        if name not in self.models:
            raise Refused(404, f"unknown model {name[:80]!r}{suggest(name[:80], self.models)}", "model")
        return self.models[name]

    def _layer(self, request: Request, served: Served) -> int:
        """Return the number of the layer in the address."""
        text: str = request.path_params["id"]
        count = len(served.described["layers"])
        if not (text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) < count):
            msg = f"there is no layer {text[:40]!r}; needed its number, 0 to {count - 1}"
            raise Refused(404, msg, request.scope["path"][:200])
        return int(text)

    async def _pictures(
        self, request: Request, served: Served, query: dict[str, Any]
    ) -> tuple[np.ndarray, list[str]]:
        """Return the pictures of a request as the model takes them, (N, C, H, W), and remarks on them."""
        body, kind = await request.body(), request.headers.get("content-type", "")
        given = (body, kind, Options.from_query(query), served.wanted)
        with suppress(_TooLarge):
            if len(body) <= _SMALL:
                return quietly(_read_within, self.small, *given)
        with suppress(_TooLarge):
            if len(body) <= _LIGHT:
                return await self.reading(_read_within, self.light, *given)
        return await self.reading_much(read_pictures, *given, self.limits)

    async def _picture(self, request: Request, served: Served, query: dict[str, Any]) -> np.ndarray:
        """Return the one picture of a request: (C, H, W)."""
        x, _ = await self._pictures(request, served, query)
        if len(x) != 1:
            raise Refused(400, f"got {len(x)} pictures; needed one", "body")
        picture: np.ndarray = x[0]
        return picture


class _TooLarge(Exception):
    """A body that is not read here."""


def _read_within(
    limits: Limits, body: bytes, kind: str, options: Options, wanted: Wanted
) -> tuple[np.ndarray, list[str]]:
    """Return `read_pictures`, unless a small file holds a large image, as a bomb does."""
    try:
        return read_pictures(body, kind, options, wanted, limits)
    except (DataError, Refused) as error:
        if isinstance(error, Refused) and error.status != 413:
            raise
        raise _TooLarge from error


def _predictions(served: Served, p: np.ndarray) -> list[dict[str, Any]]:
    """Return what is told of each row of probabilities."""
    if not np.isfinite(p).all():
        bad = int(np.flatnonzero(~np.isfinite(p).all(axis=1))[0])
        msg = f"picture {bad} gives probabilities that are not finite; needed smaller numbers"
        raise Refused(400, msg, "body")
    best = p.argmax(axis=1)
    return [
        {
            "class": served.classes[k],
            "label": k,
            "probability": float(row[k]),
            "probabilities": row,
        }
        for k, row in zip(best.tolist(), p, strict=True)
    ]


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return _sent(to_json(plain(content)), status)


def _sent(content: bytes, status: int = 200) -> Response:
    return Response(content, status, media_type="application/json")

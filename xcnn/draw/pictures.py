"""Bodies of requests as what a model takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from xcnn.data.images import decode_image, resize_image
from xcnn.data.strokes import Strokes, has_light_ground
from xcnn.draw.arrays import read_arrays
from xcnn.draw.limits import Limits
from xcnn.draw.parts import Part, parse_header, read_parts
from xcnn.draw.refusals import Refused
from xcnn.errors import FileError, ShapeError

__all__ = ["FORMATS", "Options", "Wanted", "read_pictures"]

FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/webp": "WEBP",
}
"""Types of the image files that are taken, and what Pillow calls them."""

_JSON, _FORM = "application/json", "multipart/form-data"


@dataclass(frozen=True)
class Options:
    """What a request asks to be done with its pictures.

    Parameters
    ----------
    centre : bool
        Whether strokes are centred and scaled as those were that the model learned from; of a photograph,
        paper and lighting are taken away before. Pictures that have the model's size are taken as they are.
    invert : {"false", "true", "auto"}
        Whether light and dark are exchanged: auto does so where the edge of a picture is light, for models
        that learned from light strokes on a dark ground.
    """

    centre: bool = False
    invert: Literal["false", "true", "auto"] = "false"

    @classmethod
    def from_query(cls, query: Mapping[str, str], /) -> Options:
        """Return what a query asks for; other keys are left alone.

        Parameters
        ----------
        query : mapping
            Of text.

        Returns
        -------
        Options
            Defaults where a key is missing.

        Raises
        ------
        Refused
            If a value is none of those that are known.
        """
        known = {"centre": ("false", "true"), "invert": ("false", "true", "auto")}
        given = {key: query.get(key, "false") for key in known}
        for key, value in given.items():
            if value not in known[key]:
                msg = f"is {value[:40]!r}; needed {' or '.join(known[key])}"
                raise Refused(400, msg, key)
        return cls(given["centre"] == "true", cast(Literal["false", "true", "auto"], given["invert"]))


@dataclass(frozen=True)
class Wanted:
    """What a model takes.

    Parameters
    ----------
    shape : tuple of int
        Of one input.
    strokes : Strokes, optional
        How the drawings were centred that it learned from; None where they were no drawings.
    dark : bool
        Whether they were light on a dark ground.
    """

    shape: tuple[int, ...]
    strokes: Strokes | None = None
    dark: bool = False


def read_pictures(
    body: bytes, content_type: str, options: Options, wanted: Wanted, limits: Limits | None = None, /
) -> tuple[np.ndarray, list[str]]:
    """Return the pictures in the body of a request.

    Parameters
    ----------
    body : bytes
        An image file; files as multipart/form-data; or an array in JSON, see `read_arrays`.
    content_type : str
        The header that says which.
    options : Options
        What is done with them.
    wanted : Wanted
        What the model takes. An image file of another size is resized, as `xcnn predict` does it, unless its
        strokes are centred.
    limits : Limits, optional
        How much may come.

    Returns
    -------
    x : numpy.ndarray
        Shape (N, *wanted.shape), float32.
    notes : list of str
        What the sender might want to know of them.

    Raises
    ------
    Error
        What came and what was needed; a `Refused` says with which status.
    """
    limits = limits or Limits()
    kind, parameters = parse_header(content_type)
    if kind == _JSON:
        return _from_arrays(read_arrays(body, wanted.shape, most=limits.pictures), options, wanted)
    if kind not in (_FORM, *FORMATS):
        msg = f"is {kind[:80]!r}; needed {', '.join((*FORMATS, _FORM))} or {_JSON}"
        raise Refused(415, msg, "Content-Type")
    if len(wanted.shape) != 3 or wanted.shape[0] not in (1, 3):
        msg = f"takes inputs of shape {wanted.shape}, which no image file has; needed {_JSON}"
        raise ShapeError(msg, where="the model")
    if options.centre and wanted.strokes is None:
        msg = f"is true, but inputs of shape {wanted.shape} are no grey pictures of strokes; needed false"
        raise Refused(400, msg, "centre")
    parts = [Part("the image", body)] if kind != _FORM else _parts(body, parameters, limits)
    most = max(1, limits.pixels // (wanted.shape[1] * wanted.shape[2]))
    if len(parts) > most:
        msg = f"holds {len(parts)} files; needed at most {most} at the size that the model takes"
        raise Refused(413, msg, "the body")
    formats = list(FORMATS.values()) if kind == _FORM else [FORMATS[kind]]
    x = np.empty((len(parts), *wanted.shape), np.float32)
    notes: list[str] = []
    left = limits.pixels
    for n, part in enumerate(parts):
        image = _decode(part, formats, wanted, left, limits.side)
        left -= image.shape[1] * image.shape[2]
        x[n], told = _fit(image, options, wanted)
        notes += [f"{part.name}: {note}" for note in told]
    x /= 255
    return x, notes


def _parts(body: bytes, parameters: Mapping[str, str], limits: Limits) -> list[Part]:
    return read_parts(body, parameters.get("boundary", ""), most=limits.pictures)


def _decode(part: Part, formats: list[str], wanted: Wanted, pixels: int, side: int) -> np.ndarray:
    """Return one image file as (C, H, W), uint8."""
    if not part.content:
        raise FileError("is empty; needed an image file", where=part.name)
    grey = wanted.shape[0] == 1
    return decode_image(part.content, grey=grey, formats=formats, pixels=pixels, side=side, where=part.name)


def _fit(image: np.ndarray, options: Options, wanted: Wanted) -> tuple[np.ndarray, list[str]]:
    """Return an image at the size that the model takes, and what there is to say of it."""
    size = wanted.shape[1:]
    light = has_light_ground(image)
    inverted = _inverts(options, wanted, light)
    notes = _remarks(options, wanted, light, inverted)
    image = 255 - image if inverted else image
    if image.shape[1:] == size:
        return image, notes
    if not (options.centre and wanted.strokes):
        return resize_image(image, (size[0], size[1])), notes
    centred = wanted.strokes.centre(image[0])[None]
    if not centred.any():
        notes.append("holds no stroke")
    return centred, notes


def _from_arrays(x: np.ndarray, options: Options, wanted: Wanted) -> tuple[np.ndarray, list[str]]:
    """Return arrays, which have the model's size, and what there is to say of them."""
    notes: list[str] = []
    for n, picture in enumerate(x):
        scaled = 255 * np.clip(picture, 0, 1)
        light = has_light_ground(scaled if scaled.ndim == 3 else scaled.reshape(1, 1, -1))
        inverted = _inverts(options, wanted, light)
        x[n] = 1 - picture if inverted else picture
        name = f"picture {n}: " if len(x) > 1 else ""
        notes += [name + note for note in _remarks(options, wanted, light, inverted)]
    return x, notes


def _inverts(options: Options, wanted: Wanted, light: bool) -> bool:
    return options.invert == "true" or (options.invert == "auto" and wanted.dark and light)


def _remarks(options: Options, wanted: Wanted, light: bool, inverted: bool) -> list[str]:
    if not wanted.dark:
        return []
    if options.invert == "auto":
        return ["its ground is light: light and dark were exchanged"] if inverted else []
    if light == inverted:
        return []
    other = "false" if inverted else "true"
    return [f"the ground is light; this model learned light strokes on a dark one: try invert={other}"]

"""Image files as arrays."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from xcnn.errors import DataError, Error, FileError, OptionError

__all__ = ["SUFFIXES", "read_images"]

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)
"""Endings of the files in a folder that are taken for images."""

_GREY = {"1", "L", "LA", "La"}
_COLOUR = {"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}


def read_images(
    paths: Sequence[str | os.PathLike[str]],
    /,
    *,
    size: tuple[int, int] | None = None,
    grey: bool | None = None,
) -> np.ndarray:
    """Read image files into one array.

    Cameras' notes on which way is up are followed; where an image is transparent, the ground is white.

    Parameters
    ----------
    paths : sequence of path
        The files, at least one, of 8 bits a channel.
    size : tuple of int, optional
        Height and width, in pixels, to which all are resized (bilinear, averaging where they shrink); by
        default they must agree.
    grey : bool, optional
        True makes all images grey, False gives all three colours; by default they must agree. An image with a
        palette counts as coloured.

    Returns
    -------
    numpy.ndarray
        Shape (N, 1, H, W) or (N, 3, H, W), uint8.

    Raises
    ------
    DataError
        If there is none, or images differ in size or in colour, or have other than 8 bits a channel.
    Error
        If Pillow is not installed.
    FileError
        If a file cannot be read as an image.
    OptionError
        If `size` is no pair of positive integers.
    """
    if len(paths) == 0:
        raise DataError("got no images; needed at least one", where="read_images")
    if size is not None and not (len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
        msg = f"size is {size!r}; needed the height and the width, in pixels"
        raise OptionError(msg, where="read_images")
    first = _read(os.fspath(paths[0]), size, grey)
    x = np.empty((len(paths), *first.shape), np.uint8)
    x[0] = first
    for n, path in enumerate(paths[1:], start=1):
        image = _read(os.fspath(path), size, grey)
        if image.shape != first.shape:
            needed = f"{_describe(first)} as in {paths[0]}, or {_remedy(image, first)}"
            msg = f"is {_describe(image)}; needed {needed}"
            raise DataError(msg, where=os.fspath(path))
        x[n] = image
    return x


def _read(path: str, size: tuple[int, int] | None, grey: bool | None) -> np.ndarray:
    """Return one image as (C, H, W)."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        msg = 'images are read by Pillow, which is not installed; needed: pip install "xcnn[app]"'
        raise Error(msg, where="read_images") from error
    try:
        with Image.open(path) as file:
            image: Any = ImageOps.exif_transpose(file)
        if image.mode in _GREY | _COLOUR:
            if grey is None:
                grey = image.mode in _GREY
            if image.has_transparency_data:
                ground = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(ground, image.convert("RGBA"))
            image = image.convert("L" if grey else "RGB")
            if size is not None:
                image = image.resize(size[::-1], Image.Resampling.BILINEAR)
            return np.asarray(image).reshape(*image.size[::-1], -1).transpose(2, 0, 1)
    except (OSError, EOFError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        msg = f"cannot be read as an image: {error}"
        raise FileError(msg, where=path) from error
    msg = f"has pixels of Pillow's mode {image.mode!r}; needed 8 bits a channel, grey or coloured"
    raise DataError(msg, where=path)


def _describe(image: np.ndarray) -> str:
    c, h, w = image.shape
    return f"{h} x {w} pixels, {'grey' if c == 1 else 'coloured'}"


def _remedy(image: np.ndarray, first: np.ndarray) -> str:
    """Return the options under which both images go together."""
    options = [] if image.shape[1:] == first.shape[1:] else [f"size={first.shape[1:]}"]
    return ", ".join(options if len(image) == len(first) else [*options, "grey=True or grey=False"])

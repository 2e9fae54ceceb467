"""Image files as arrays."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from xcnn.errors import DataError, Error, FileError, OptionError

__all__ = ["SUFFIXES", "decode_image", "read_images", "resize_image"]

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)
"""Endings of the files in a folder that are taken for images."""

_SCANS = 32  # of one JPEG file: each of a few bytes may cost as much time as a whole image
_PIXELS = 16_000_000  # that a file of any length may have; a longer one as many as fill it, well packed
_PACKED = 1000  # pixels of one byte
_COMMENTS = 1000  # of one GIF file: older versions of Pillow copy all that came before with each one

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
        If there is none, or images differ in size or in colour, or have other than 8 bits a channel, or more
        than 16 million pixels and more than 1000 for each byte of their file.
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


def decode_image(
    content: bytes,
    /,
    *,
    grey: bool | None = None,
    formats: Sequence[str] | None = None,
    pixels: int | None = None,
    side: int | None = None,
    where: str = "the image",
) -> np.ndarray:
    """Decode the bytes of an image file, which nobody vouches for; of several frames, the first.

    What its header states is held against the limits before any pixel is decoded, and whatever goes wrong is
    one of xcnn's errors. See `read_images` for turned and transparent images.

    Parameters
    ----------
    content : bytes
        The whole file.
    grey : bool, optional
        Whether the image is made grey, or coloured; by default it stays what it is.
    formats : sequence of str, optional
        What may come, in Pillow's words ("PNG", "JPEG"); by default whatever Pillow knows.
    pixels, side : int, optional
        The largest product of height and width, and the largest of them.
    where : str
        What to call the image in errors.

    Returns
    -------
    numpy.ndarray
        Shape (1, H, W) or (3, H, W), uint8.

    Raises
    ------
    DataError
        If the image is larger than allowed, or has other than 8 bits a channel.
    Error
        If Pillow is not installed.
    FileError
        If the bytes are no image of these formats, or not all of it.
    """
    if content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > _SCANS:
        msg = f"cannot be read as an image: a JPEG file of more than {_SCANS} scans"
        raise FileError(msg, where=where)
    if content.startswith(b"GIF8") and content.count(b"\x21\xfe") > _COMMENTS:
        msg = f"cannot be read as an image: a GIF file of more than {_COMMENTS} comments"
        raise FileError(msg, where=where)
    return _pixels(_decode(io.BytesIO(content), where, grey, formats, pixels, side))


def resize_image(image: np.ndarray, size: tuple[int, int], /) -> np.ndarray:
    """Resize an image (bilinear, averaging where it shrinks).

    Parameters
    ----------
    image : numpy.ndarray
        Shape (1, H, W) or (3, H, W), uint8.
    size : tuple of int
        The new height and width, in pixels.

    Returns
    -------
    numpy.ndarray
        Of the new size; `image` itself where it has it already.
    """
    if image.shape[1:] == size:
        return image
    from PIL import Image

    plane = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    return _pixels(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR))


def _pixels(image: Any) -> np.ndarray:
    """Return a Pillow image, grey or coloured, as (C, H, W)."""
    return np.asarray(image).reshape(*image.size[::-1], -1).transpose(2, 0, 1)


def _read(path: str, size: tuple[int, int] | None, grey: bool | None) -> np.ndarray:
    """Return one image file as (C, H, W)."""
    length = os.path.getsize(path) if os.path.isfile(path) else 0
    x = _pixels(_decode(path, path, grey, pixels=max(_PIXELS, _PACKED * length)))
    return x if size is None else resize_image(x, size)


def _decode(
    source: str | IO[bytes],
    where: str,
    grey: bool | None,
    formats: Sequence[str] | None = None,
    pixels: int | None = None,
    side: int | None = None,
) -> Any:
    """Return a Pillow image of mode L or RGB, upright and opaque."""
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        msg = 'images are read by Pillow, which is not installed; needed: pip install "xcnn[app]"'
        raise Error(msg, where="read_images") from error
    # The filter names Pillow alone, so threads that leave the block in another order do no harm.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            with Image.open(source, formats=None if formats is None else tuple(formats)) as file:
                _check_size(file.size, pixels, side, where)
                image: Any = ImageOps.exif_transpose(file)
            if image.mode in _GREY | _COLOUR:
                if grey is None:
                    grey = image.mode in _GREY
                if image.has_transparency_data:
                    ground = Image.new("RGBA", image.size, "white")
                    image = Image.alpha_composite(ground, image.convert("RGBA"))
                return image.convert("L" if grey else "RGB")
        except Error:
            raise
        except UnidentifiedImageError as error:
            known = ", ".join(formats or ("known format",))
            raise FileError(f"cannot be read as an image: no {known}", where=where) from error
        except Exception as error:  # broken files bring decoders to any: KeyError, zlib.error, ...
            msg = f"cannot be read as an image: {str(error)[:200] or type(error).__name__}"
            raise FileError(msg, where=where) from error
    msg = f"has pixels of Pillow's mode {image.mode!r}; needed 8 bits a channel, grey or coloured"
    raise DataError(msg, where=where)


def _check_size(size: tuple[int, int], pixels: int | None, side: int | None, where: str) -> None:
    """Raise DataError if an image's header states more than is allowed."""
    width, height = size
    if side is not None and max(size) > side:
        msg = f"has {height:,} x {width:,} pixels; needed at most {side:,} on each side"
        raise DataError(msg, where=where)
    if pixels is not None and width * height > pixels:
        msg = f"has {height:,} x {width:,} pixels; needed at most {pixels:,} altogether"
        raise DataError(msg, where=where)


def _describe(image: np.ndarray) -> str:
    c, h, w = image.shape
    return f"{h} x {w} pixels, {'grey' if c == 1 else 'coloured'}"


def _remedy(image: np.ndarray, first: np.ndarray) -> str:
    """Return the options under which both images go together."""
    options = [] if image.shape[1:] == first.shape[1:] else [f"size={first.shape[1:]}"]
    return ", ".join(options if len(image) == len(first) else [*options, "grey=True or grey=False"])

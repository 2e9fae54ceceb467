"""Photographed drawings on a black ground: paper, its lighting and its grain taken away."""

from __future__ import annotations

import numpy as np

from xcnn.data.images import resize_image

__all__ = ["subtract_ground"]

_SIDE = 512  # pixels: grain averages out, strokes stay
_BLOCKS = 16  # along each side, whose medians tell the ground
_GRAIN = 5  # standard deviations up to which a pixel may be grain
_LEAST = 16  # of 255: strokes stand out by more
_FAINT = 0.25  # share of the strongest stroke that still is ground


def subtract_ground(picture: np.ndarray, /) -> np.ndarray:
    """Subtract the ground from a picture of light strokes, and stretch what is left to 0 to 255.

    The ground is the quadratic surface through the medians of blocks, which follows a light that falls in
    from one side; blocks that stand out from it, as strokes do, are left out.

    Parameters
    ----------
    picture : numpy.ndarray
        Shape (rows, columns), uint8, with light strokes on less than half of it.

    Returns
    -------
    numpy.ndarray
        At most 512 pixels a side, uint8, zero where there is no stroke. `picture` itself where more than half
        of it is black or as bright as the brightest pixel: so are drawings and scans, whose ground is black.

    Examples
    --------
    >>> photo = np.full((100, 100), 60, np.uint8)
    >>> photo[20:80, 45:55] = 200
    >>> x = subtract_ground(photo)
    >>> int(x[50, 40]), int(x[50, 50])
    (0, 255)
    """
    if 2 * np.count_nonzero((picture == 0) | (picture == picture.max())) > picture.size:
        return picture
    scale = min(1.0, _SIDE / max(picture.shape))
    h, w = (max(1, round(n * scale)) for n in picture.shape)
    y = resize_image(picture[None], (h, w))[0].astype(np.float64)
    y = _smooth(y - _ground(y))
    grain = 1.4826 * float(np.median(np.abs(y)))
    peak = float(y.max())
    low = max(_GRAIN * grain, _FAINT * peak)
    if peak <= max(low, _LEAST):
        return np.zeros((h, w), np.uint8)
    return np.rint(np.clip((y - low) * (255 / (peak - low)), 0, 255)).astype(np.uint8)


def _ground(y: np.ndarray) -> np.ndarray:
    """Return the quadratic surface through what most blocks show."""
    rows, columns = (np.array_split(np.arange(n), min(n, _BLOCKS)) for n in y.shape)
    u, v = (np.linspace(-1, 1, n) for n in y.shape)
    z = np.array([np.median(y[i[0] : i[-1] + 1, j[0] : j[-1] + 1]) for i in rows for j in columns])
    centres = np.meshgrid([u[i].mean() for i in rows], [v[j].mean() for j in columns], indexing="ij")
    terms = _quadratic(*(a.ravel() for a in centres))
    kept = np.ones(len(z), bool)
    for _ in range(4):
        found = np.linalg.lstsq(terms[kept], z[kept], rcond=None)[0]
        off = z - terms @ found
        kept = off <= max(1.0, 2 * 1.4826 * float(np.median(np.abs(off))))
    return _quadratic(u[:, None], v[None]) @ found


def _quadratic(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.stack(np.broadcast_arrays(1.0, u, v, u * u, u * v, v * v), axis=-1)


def _smooth(y: np.ndarray) -> np.ndarray:
    """Return the means of blocks of 3 x 3."""
    padded = np.pad(y, 1, mode="edge")
    h, w = y.shape
    return np.mean([padded[i : i + h, j : j + w] for i in range(3) for j in range(3)], axis=0)

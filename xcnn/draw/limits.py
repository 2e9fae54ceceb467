"""How much one request, and all together, may ask for."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """What a server takes; more is refused before any work is done.

    Parameters
    ----------
    body : int
        Bytes of a request's body.
    bodies : int
        Bytes of all bodies together that are being received or worked on.
    pixels : int
        Of one image, height times width, as its header states them.
    side : int
        Pixels along one side of an image.
    pictures : int
        Pictures in one request.
    seconds : float
        In which a body must have arrived.
    requests : int
        Being worked on at once.
    """

    body: int = 8 << 20
    bodies: int = 128 << 20
    pixels: int = 16_000_000
    side: int = 8192
    pictures: int = 256
    seconds: float = 10.0
    requests: int = 64

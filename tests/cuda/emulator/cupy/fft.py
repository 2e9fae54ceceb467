"""Fourier transforms, as far as array-api-compat asks for their names."""

from __future__ import annotations

from typing import Any

import numpy as np

from cupy._apply import apply


def _function(name: str) -> Any:
    function = getattr(np.fft, name)
    return lambda *args, **kwargs: apply(name, function, *args, **kwargs)


_NAMES = (
    "fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftfreq rfftfreq fftshift ifftshift fft2 ifft2"
)
for _name in _NAMES.split():
    globals()[_name] = _function(_name)

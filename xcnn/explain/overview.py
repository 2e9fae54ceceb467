"""What is shown of a whole model: the answer, the image, how far the gradient came, and every layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from xcnn.errors import OptionError
from xcnn.explain.conv import Convolution
from xcnn.explain.explanation import Explanation, as_png, named, strongest
from xcnn.explain.text import beside, number, picture, share, titled
from xcnn.explain.trace import Step
from xcnn.explain.windows import Windowed

__all__ = ["ModelExplanation"]


@dataclass(repr=False, eq=False)
class ModelExplanation:
    """What a model made of one image, layer by layer; `str` and notebooks show it.

    Parameters
    ----------
    layers : tuple of Explanation
        One for each layer of ``model.layers``.
    step : Step
        The whole model at work: the image, the output, the gradient with respect to the image.
    target : str
        What the gradients are of.
    answer : str
        What the model says.
    probabilities : array (K,) or None
        Of the classes, for a classifier.
    classes : tuple of str
        Their names.
    """

    layers: tuple[Explanation, ...]
    step: Step
    target: str
    answer: str
    probabilities: np.ndarray | None
    classes: tuple[str, ...]

    @property
    def image(self) -> np.ndarray:
        """The image as the first layer got it: (C, H, W)."""
        return self.step.x

    @property
    def dx(self) -> np.ndarray:
        """The gradient with respect to the image, of its shape."""
        assert self.step.dx is not None
        return self.step.dx

    def walk(self) -> Iterator[Explanation]:
        """Yield the explanation of every layer, inner ones after the one around them.

        Yields
        ------
        Explanation
            In the order of the forward pass.
        """
        stack = [*reversed(self.layers)]
        while stack:
            found = stack.pop()
            yield found
            stack += reversed(found.parts)

    def __str__(self) -> str:
        """Return the explanation for a terminal."""
        own = [self.answer]
        if self.image.ndim == 3:
            seen, size = self.image.mean(axis=0), " × ".join(map(str, self.image.shape))
            seen = np.nan_to_num(seen, posinf=0.0, neginf=0.0)
            seen = (seen - seen.min()) / (float(np.ptp(seen)) or 1.0)
            reached = np.abs(self.dx).max(axis=0)
            image = titled(f"image {size}", picture(seen))
            own += ["", *beside(image, titled(f"|gradient| of {self.target}", picture(reached)))]
        rows = [("the gradient of " + self.target, "elements reached", "largest |dx|")]
        for part in self.layers:
            dx = part.step.dx
            assert dx is not None
            most = strongest(dx)
            at = f"{number(abs(float(dx[most])))} at {named(most)}"
            rows.append((part.name(), share(int(np.count_nonzero(dx)), dx.size), at))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        own += [
            "",
            *["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows],
        ]
        return "\n\n".join(["\n".join(own), *map(str, self.layers)])

    __repr__ = __str__

    def plot(self, path: Any = None, /) -> Any:
        """Draw the image, the answer, the gradient, and a strip for each layer.

        Parameters
        ----------
        path : str or Path, optional
            Where to save it; the ending says in which format.

        Returns
        -------
        matplotlib.figure.Figure
            Also shown by notebooks.
        """
        from xcnn.plots import explanations

        return explanations.model_explanation(self, path=path)

    def animate(self, path: Any, /, **options: Any) -> int:
        """Write an animation of the first window that slides: a convolution's, or a pooling's.

        Parameters
        ----------
        path : str or Path
            Of the GIF.
        **options
            most, fps: see `Windowed.animate`.

        Returns
        -------
        int
            The number of frames.

        Raises
        ------
        OptionError
            If no layer has windows.
        """
        for kind in (Convolution, Windowed):
            for found in self.walk():
                if isinstance(found, kind):
                    return found.animate(path, **options)
        msg = "no layer slides a window; needed a convolution or a pooling"
        raise OptionError(msg, where="animate")

    def _repr_png_(self) -> bytes | None:
        return as_png(self)

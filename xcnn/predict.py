"""The boundary of a model: what comes in from any backend, and what goes out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xcnn import losses, ops
from xcnn.backend import Backend, backend_of, find_kernel, get_backend, move, plugin_of
from xcnn.data.rows import from_list, in_memory, read_slice
from xcnn.errors import DataError, DTypeError, OptionError, ShapeError, named
from xcnn.layers import Sequential
from xcnn.layers.geometry import integer
from xcnn.ops.precision import in_precision
from xcnn.plan import chain, ending_of

__all__ = ["Predictor"]


class Predictor:
    """What takes arrays of any backend: the part of a `Model` that does not train."""

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    dtype: str
    precision: str
    backend: Backend
    loss: losses.Loss | None
    flat: Sequential

    @property
    def plan(self) -> Sequential:
        """What runs."""
        raise NotImplementedError

    @contextmanager
    def active(self) -> Iterator[None]:
        """Run layers as this model does: on its device, in its precision.

        Yields
        ------
        None
            Only layers that are called by themselves need the block: `forward`, `fit` and the others do so.
        """
        with self.backend.active(), in_precision(self.precision):
            yield

    def forward(self, x: Any, /, *, train: Any = False, hold: bool | None = None) -> tuple[Any, Any]:
        """Return outputs for arrays on this model's backend, and what `backward` needs.

        Parameters
        ----------
        x : array (N, ...)
            As from `accept`.
        train, hold
            See `Layer.forward`.

        Returns
        -------
        y : array
            Outputs.
        saved : object
            For `backward`.
        """
        return self.plan.forward(x, train=train, hold=hold)

    def backward(self, dy: Any, saved: Any, /, *, need_dx: bool = True) -> Any:
        """Add to the parameters' gradients and return the gradient with respect to the input.

        Parameters
        ----------
        dy : array
            Of the shape of the outputs.
        saved : object
            From `forward`.
        need_dx : bool
            Whether dx is wanted.

        Returns
        -------
        array or None
            dx.
        """
        return self.plan.backward(dy, saved, need_dx=need_dx)

    def accept(self, x: Any, /) -> Any:
        """Return inputs on this model's backend in its dtype, checked; uint8 images are divided by 255.

        Parameters
        ----------
        x : array or list (N, ...)
            Of any backend.

        Returns
        -------
        array
            The inputs.

        Raises
        ------
        ShapeError, DTypeError, DataError
            If the shape does not fit, the dtype is an integer one other than uint8, or there are no inputs.
        """
        x = from_list(x, "Model")
        if not hasattr(x, "shape"):
            msg = f"x is a {type(x).__name__}; needed an array (N, {', '.join(map(str, self.input_shape))})"
            raise DTypeError(msg, where="Model")
        if tuple(x.shape[1:]) != self.input_shape or not x.shape:
            needed = f"(N, {', '.join(map(str, self.input_shape))})"
            msg = f"x has shape {tuple(x.shape)}; needed {needed}{_hint(tuple(x.shape), self.input_shape)}"
            raise ShapeError(msg, where="Model")
        if x.shape[0] == 0:
            msg = f"x is empty, its shape {tuple(x.shape)}; needed one input at least"
            raise DataError(msg, where="Model")
        with named("Model"):
            plugin_of(x)  # refuses what no backend owns
        name = getattr(x.dtype, "name", None) or str(x.dtype).rpartition(".")[2]
        if name.startswith(("float", "bfloat")):
            return move(x, self.backend, self.dtype)
        if name != "uint8":
            msg = f"x has dtype {x.dtype}; needed a floating dtype, or uint8 images (0 to 255)"
            raise DTypeError(msg, where="Model")
        x = move(x, self.backend)
        kernel = find_kernel("scale_bytes", type(self.backend))
        with self.backend.active():
            return kernel(x, self.dtype) if kernel else self.backend.asarray(x, self.dtype) / 255.0

    def _predict(self, x: Any, batch_size: int, finish: Any) -> Any:
        """Return `finish` of the outputs, batch by batch, in the kind of `x`."""
        x = from_list(x, "Model")
        step = integer(batch_size, "Model: batch_size")
        if not hasattr(x, "shape") or not x.shape:
            return self.accept(x)  # refuses it
        home = backend_of(x) if in_memory(x) else get_backend("numpy")
        n, parts = x.shape[0], []
        for i in range(0, max(n, 1), step):
            part = x if n <= step and in_memory(x) else read_slice(x, i, min(i + step, n))
            with self.backend.active():
                parts.append(move(finish(self.forward(self.accept(part))[0]), home))
        if len(parts) == 1:
            return parts[0]
        with home.active():
            return home.xp.concat(parts)

    def predict(self, x: Any, /, *, batch_size: int = 256) -> Any:
        """Return the last layer's outputs, in the kind of array that x is.

        Parameters
        ----------
        x : array or list (N, ...)
            Of any backend; it is transferred.
        batch_size : int
            How many inputs at a time.

        Returns
        -------
        array (N, ...)
            Outputs.
        """
        return self._predict(x, batch_size, lambda y: y)

    def predict_proba(self, x: Any, /, *, batch_size: int = 256) -> Any:
        """Return probabilities: the outputs after the loss's link, unless the model ends in probabilities.

        Parameters
        ----------
        x : array or list (N, ...)
            Of any backend; it is transferred.
        batch_size : int
            How many inputs at a time.

        Returns
        -------
        array (N, K)
            Probabilities, in the kind of array that x is.
        """
        return self._predict(x, batch_size, self._link)

    def _link(self, y: Any) -> Any:
        ending = ending_of(self.flat[-1]) if len(self.flat) else None
        if ending:
            return self.backend.xp.exp(y) if ending == "log_softmax" else y
        link = self.loss.link if self.loss else ("softmax" if self.output_shape[-1] > 1 else "sigmoid")
        return y if link is None else getattr(ops, link)(y)[0]

    def predict_classes(self, x: Any, /, *, batch_size: int = 256) -> Any:
        """Return the class of each input: its largest output, or whether a single one is over one half.

        Parameters
        ----------
        x : array or list (N, ...)
            Of any backend; it is transferred.
        batch_size : int
            How many inputs at a time.

        Returns
        -------
        array (N,)
            Integers, in the kind of array that x is.

        Raises
        ------
        DataError
            If an output is NaN.
        """

        def largest(y: Any) -> Any:
            xp = self.backend.xp
            if bool(xp.any(xp.isnan(y))):
                msg = "an output is NaN, so no class is the largest; needed finite inputs"
                raise DataError(msg, where="Model")
            if y.ndim > 1 and y.shape[-1] > 1:
                return xp.argmax(y, axis=-1)
            return xp.reshape(xp.astype(self._link(y) > 0.5, xp.int64), (-1,))

        return self._predict(x, batch_size, largest)

    def head(self, loss: losses.Loss, /) -> tuple[Sequential, bool]:
        """Return what `loss` is computed on.

        Parameters
        ----------
        loss : Loss
            If the model ends in its pair (Softmax for cross_entropy), the layers before it are taken.

        Returns
        -------
        layers : Sequential
            What runs.
        probabilities : bool
            Whether it gives probabilities rather than logits.

        Raises
        ------
        OptionError
            If the model ends in LogSoftmax and the loss is a sigmoid's.
        """
        plan = self.plan
        ending = ending_of(plan[-1]) if len(plan) else None
        if ending is None or loss.link is None:
            return plan, False
        if loss.link == ending.removeprefix("log_"):
            return chain(plan[:-1], self.backend, self.precision), False
        if ending == "log_softmax":
            msg = f"the model ends in LogSoftmax; {loss.name} needs logits, Sigmoid or Softmax"
            raise OptionError(msg, where="Model")
        return plan, True


def _hint(shape: tuple[int, ...], needed: tuple[int, ...]) -> str:
    """Return what a user most likely forgot."""
    if len(needed) == 3:
        if shape[1:] == needed[1:] and needed[0] == 1:
            return "; add the channel axis: x[:, None]"
        if shape == needed:
            return "; a single image needs a batch axis: x[None]"
        if shape[1:] == (*needed[1:], needed[0]):
            return "; the channels come first: np.moveaxis(x, -1, 1)"
    return ""

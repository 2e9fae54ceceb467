"""The classifier."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from xcnn import losses, optim
from xcnn.errors import DataError, OptionError, ShapeError
from xcnn.io import RunConfig
from xcnn.layer import Layer
from xcnn.model import Model
from xcnn.sklearn.inputs import agree, as_rows, shape_of_input
from xcnn.sklearn.network import default_network, packed, unpacked

__all__ = ["CNNClassifier"]


class CNNClassifier(ClassifierMixin, BaseEstimator):
    """A convolutional network that classifies, with the interface of scikit-learn.

    Inputs are rows ``X`` (n_samples, n_features), or images (n_samples, C, H, W) of which each becomes a row.
    Numbers are taken as they are, whatever their dtype: bytes are not divided by 255 here.

    Parameters
    ----------
    layers : list or callable, optional
        The whole network, its last layer with one output per class: descriptions as in a run's configuration
        (``["Flatten", {"type": "Dense", "units": 10}]``), or layers, of which copies are used; or a function
        ``f(input_shape, n_classes)`` that returns such a list. By default two convolutions and two dense
        layers for images, three dense layers for rows, both on inputs standardised by the training data.
    input_shape : tuple of int, optional
        Of one input, (C, H, W) or (n_features,); by default as `X` has it.
    optimizer : str or Optimizer
        See `xcnn.optim`.
    lr : float, optional
        The optimizer's learning rate, in place of its own.
    loss : str or Loss
        One of classes, see `xcnn.losses`.
    epochs : int
        How often to see all samples.
    batch_size : int
        Samples in a step.
    dtype : {"float32", "float64"}, optional
        Of the network; by default that of `X`, or float32 for integers and lower precisions. In float32,
        a step takes about half the time; what is predicted for an input then depends, in its last digits,
        on what it is predicted with.
    precision : {"float32", "tf32", "bfloat16", "float16"}
        Of the network's products, see `xcnn.Model`.
    backend : str, optional
        Where the network lives; by default what `xcnn.get_backend` returns.
    random_state : int, RandomState or None
        Of the first weights, the order of samples and dropout.
    verbose : bool
        Whether to show the progress.

    Attributes
    ----------
    classes_ : ndarray (n_classes,)
        Labels, sorted.
    n_features_in_ : int
        Numbers in one input.
    feature_names_in_ : ndarray (n_features_in_,)
        Names of the columns, where `X` had them.
    input_shape_ : tuple of int
        What the network takes.
    model_ : Model
        The network, trained.
    history_ : History
        What was measured in each epoch.
    n_iter_ : int
        Epochs that were done.

    Notes
    -----
    A pickle holds the network as the bytes of its .xcnn file, and reading it back goes through `xcnn.load`
    onto `backend`. Whoever writes a pickle can make it run anything: to pass a network on, use
    ``model_.save(path)``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from xcnn.sklearn import CNNClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> classifier = CNNClassifier(input_shape=(1, 8, 8), random_state=0).fit(X_train, y_train)
    >>> bool(classifier.score(X_test, y_test) > 0.97)
    True
    """

    def __init__(
        self,
        layers: Sequence[Any] | Callable[..., Sequence[Any]] | None = None,
        *,
        input_shape: tuple[int, ...] | None = None,
        optimizer: Any = "adam",
        lr: float | None = None,
        loss: Any = "cross_entropy",
        epochs: int = 20,
        batch_size: int = 32,
        dtype: str | None = None,
        precision: str = "float32",
        backend: str | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.layers = layers
        self.input_shape = input_shape
        self.optimizer = optimizer
        self.lr = lr
        self.loss = loss
        self.epochs = epochs
        self.batch_size = batch_size
        self.dtype = dtype
        self.precision = precision
        self.backend = backend
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> CNNClassifier:
        """Build a network and train it; what was learned before is forgotten.

        Parameters
        ----------
        X : array_like (n_samples, n_features) or (n_samples, C, H, W)
            Inputs.
        y : array_like (n_samples,)
            Labels: numbers or strings.

        Returns
        -------
        CNNClassifier
            This one.

        Raises
        ------
        DataError
            If `y` has one class only.
        ShapeError
            If `X` does not fit `input_shape`, or the network's outputs not the classes.
        OptionError, ConfigError
            If an option or a layer is not valid.
        """
        loss, optimizer = self._loss(), self._optimizer()
        rows, shape = as_rows(X)
        rows, y = validate_data(self, rows, y, dtype=self._dtypes())
        shape = shape_of_input(shape or rows.shape[1:], self.input_shape)
        x = rows.reshape(-1, *shape)
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            msg = f"y has one class, {classes[0]!r}; needed two classes at least"
            raise DataError(msg, where="CNNClassifier")
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        model = Model(
            self._network(x, len(classes)),
            shape,
            seed=seed,
            dtype=rows.dtype.name,
            precision=self.precision,
            backend=self.backend,
        )
        if model.output_shape != (len(classes),) and (model.output_shape, len(classes)) != ((1,), 2):
            given = " x ".join(map(str, model.output_shape))
            msg = f"the network gives {given} outputs; needed {len(classes)}, one per class"
            raise ShapeError(msg, where="CNNClassifier")
        model.classes = tuple(map(str, classes))
        self.history_ = model.fit(
            x,
            codes,
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer=optimizer,
            loss=loss,
            seed=seed,
            progress=bool(self.verbose),
        )
        self.classes_, self.input_shape_, self.model_ = classes, shape, model
        self.n_iter_ = self.history_.epochs
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array_like (n_samples, n_features) or (n_samples, C, H, W)
            Inputs.

        Returns
        -------
        ndarray (n_samples, n_classes)
            In the order of `classes_`, float64; each row adds up to 1.

        Raises
        ------
        DataError
            If a probability is NaN: the inputs are too large for the network.
        """
        check_is_fitted(self)
        rows, shape = as_rows(X)
        rows = validate_data(self, rows, reset=False, dtype=self.model_.dtype)
        agree(shape or rows.shape[1:], self.input_shape_)
        p = np.asarray(self.model_.predict_proba(rows.reshape(-1, *self.input_shape_)), np.float64)
        if p.shape[1] == 1:
            p = np.concatenate([1 - p, p], axis=1)
        if np.isnan(p).any():
            msg = "a probability is NaN; needed inputs of the size of those in training"
            raise DataError(msg, where="CNNClassifier")
        return p / p.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each input.

        Parameters
        ----------
        X : array_like (n_samples, n_features) or (n_samples, C, H, W)
            Inputs.

        Returns
        -------
        ndarray (n_samples,)
            Labels, of those in `classes_`.
        """
        largest = np.argmax(self.predict_proba(X), axis=1)  # or NotFittedError, before classes_ is asked for
        return self.classes_[largest]

    def _dtypes(self) -> tuple[str, ...]:
        """Return the dtypes that the network may have, first the one for integers."""
        if self.dtype is None:
            return ("float32", "float64") if self.precision == "float32" else ("float32",)
        if self.dtype not in ("float32", "float64"):
            msg = f"dtype is {self.dtype!r}; needed 'float32' or 'float64'"
            raise OptionError(msg, where="CNNClassifier")
        return (self.dtype,)

    def _network(self, x: np.ndarray, n_classes: int) -> list[Layer]:
        """Return new layers."""
        given = self.layers(x.shape[1:], n_classes) if callable(self.layers) else self.layers
        if given is None:
            return default_network(x, n_classes)
        if not isinstance(given, (list, tuple)):
            msg = f"layers is {given!r}; needed a list of layers or of their descriptions"
            raise OptionError(msg, where="CNNClassifier")
        if given and all(isinstance(layer, Layer) for layer in given):
            return copy.deepcopy(list(given))
        return [layer.make() for layer in RunConfig.from_dict({"layers": list(given)}).layers]

    def _optimizer(self) -> optim.Optimizer:
        """Return a new optimizer, with the learning rate that was asked for."""
        found = copy.copy(optim.get(self.optimizer))
        return found if self.lr is None else dataclasses.replace(found, lr=self.lr)

    def _loss(self) -> losses.Loss:
        """Return a new loss; refuse one of numbers."""
        found = copy.copy(losses.get(self.loss))
        if not found.classifies:
            msg = f"loss is {self.loss!r}; needed one of classes: 'cross_entropy' or 'binary_cross_entropy'"
            raise OptionError(msg, where="CNNClassifier")
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes, the network as its file."""
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = packed(state["model_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the attributes back, the network from its file."""
        if "model_" in state:
            state = {**state, "model_": unpacked(*state["model_"], backend=state["backend"])}
        super().__setstate__(state)

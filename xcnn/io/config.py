"""A whole run as JSON: data, layers, loss, optimizer, schedule, and what else it needs to be done again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from xcnn import layers, metrics
from xcnn.data import Compose, DataSet, channel_statistics
from xcnn.errors import ConfigError, Error
from xcnn.io.data_spec import DataSpec
from xcnn.io.json_text import format_json, read_json
from xcnn.io.refusals import lines, refusal
from xcnn.io.spec import Spec
from xcnn.io.specs import SPECS, AnyCallback, AnyLayer, AnyLoss, AnyOptimizer, AnySchedule
from xcnn.model import Model
from xcnn.training import History

__all__ = ["RunConfig", "load_config"]

_Metric: Any = Literal[tuple(metrics.NAMES)]


class RunConfig(Spec):
    """A run: everything that decides what is learned.

    Parameters
    ----------
    schema_ : str, optional
        "$schema" in the file: where an editor finds the schema.
    data : str or object
        A name, a folder, or an object with more; see `DataSpec`.
    layers : list
        Names or objects with "type" and what the layer's constructor takes.
    loss, optimizer, schedule : str or object
        A name, or an object with "name" and options.
    epochs, batch_size : int
        See `xcnn.training.fit`.
    seed : int
        Of weights, order, dropout, augmentation and the choice of images.
    dtype : {"float32", "float64"}
        Of the model.
    precision : {"float32", "tf32", "bfloat16", "float16"}
        Of the model's products.
    backend : str, optional
        Where it runs; by default what `xcnn.get_backend` returns.
    metrics : list of str, optional
        What is measured beside the loss.
    callbacks : list
        Names or objects with "name" and options; files go to the folder of the run.
    """

    schema_: str | None = Field(None, alias="$schema")
    data: DataSpec = Field("digits", validate_default=True)
    layers: list[AnyLayer] = Field(min_length=1)
    loss: AnyLoss = Field("cross_entropy", validate_default=True)
    optimizer: AnyOptimizer = Field("adam", validate_default=True)
    schedule: AnySchedule | None = None
    epochs: int = Field(10, ge=1)
    batch_size: int = Field(64, ge=1)
    seed: int = Field(0, ge=0, lt=2**64)
    dtype: Literal["float32", "float64"] = "float32"
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    backend: str | None = None
    metrics: list[_Metric] | None = None
    callbacks: list[AnyCallback] = Field([])

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        """Refuse to watch a validation that does not take place, and precisions of another dtype."""
        watching = {f"callbacks[{i}]": callback.root for i, callback in enumerate(self.callbacks)}
        if self.schedule is not None:
            watching["schedule"] = self.schedule.root
        refused = {
            f"{path}.monitor": f"got {spec.monitor!r}; needed data.validation, or a measure of the training"
            for path, spec in watching.items()
            if getattr(spec, "monitor", "").startswith("val_") and self.data.validation is None
        }
        if self.precision != "float32" and self.dtype != "float32":
            refused["precision"] = f"got {self.precision!r}; needed dtype 'float32', or precision 'float32'"
        if refused:
            raise refusal(refused)
        return self

    @classmethod
    def from_dict(cls, content: Any, /, *, where: str = "") -> RunConfig:
        """Return the run that `content` describes.

        Parameters
        ----------
        content : dict
            As from JSON.
        where : str
            Begins each line of the error: the file.

        Returns
        -------
        RunConfig
            Checked.

        Raises
        ------
        ConfigError
            With one line for each thing that is wrong, each with its path in the file.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            found = lines(error, content, cls, SPECS)
        msg = "\n".join(f"{where}: {line}" if where else line for line in found)
        raise ConfigError(msg)

    def to_dict(self) -> dict[str, Any]:
        """Return the run as JSON has it: every setting, but of the layers only what is no default.

        Returns
        -------
        dict
            What `from_dict` takes.
        """
        content = self.model_dump(exclude={"schema_", "layers"}, exclude_none=True)
        chain = [layer.model_dump(exclude_defaults=True) for layer in self.layers]
        at = list(content).index("data") + 1
        items = list(content.items())
        return dict([*items[:at], ("layers", chain), *items[at:]])

    def save(self, path: str | Path, /) -> None:
        """Write the run as JSON.

        Parameters
        ----------
        path : str or Path
            Written whole or not at all.

        Raises
        ------
        FileError
            If it cannot be written.
        """
        from xcnn.files import write_atomically

        write_atomically(path, format_json(self.to_dict()).encode())

    def load_data(self) -> DataSet:
        """Return the images.

        Returns
        -------
        DataSet
            See `xcnn.data.load`.

        Raises
        ------
        FileError, DataError, OptionError
            As `xcnn.data.load` does.
        """
        return self.data.load(self.seed)

    def build_model(self, data: DataSet | None = None, /, *, backend: Any = None) -> Model:
        """Return the model, not trained.

        Parameters
        ----------
        data : DataSet, optional
            What it is for; loaded by default.
        backend : str or Backend, optional
            In place of the configuration's.

        Returns
        -------
        Model
            For the images of `data`, with the names of the classes.

        Raises
        ------
        ConfigError
            If the layers do not fit the images, each other or the classes.
        BackendError
            If the backend cannot be used.
        """
        data = self.load_data() if data is None else data
        chain = [layer.make() for layer in self.layers]
        first: list[layers.Layer] = []
        if self.data.normalize:
            first = [layers.Normalize(*channel_statistics(self.data.parts(data, self.seed)[0].x))]
        shape = tuple(data.train.x.shape[1:])
        try:
            numbers = self.model_dump(include={"seed", "dtype", "precision"})
            model = Model([*first, *chain], shape, **numbers, backend=backend or self.backend)
        except Error as error:
            if "(layers[" not in error.where:
                raise
            path, what = _in_the_file(error, len(first))
            raise ConfigError(what, where=path) from error
        count, loss = len(data.classes), self.loss.make()
        if model.output_shape != (count,) and not (model.output_shape == (1,) and count == 2):
            given = " x ".join(map(str, model.output_shape))
            msg = f"gives {given} outputs; {data.name} has {count} classes: needed {count} outputs"
            raise ConfigError(msg, where=f"layers[{len(chain) - 1}]")
        model.classes, model.loss = data.classes, loss
        return model

    def fit(
        self,
        model: Model,
        data: DataSet,
        /,
        *,
        callbacks: Sequence[Any] = (),
        folder: str | Path = ".",
        **options: Any,
    ) -> History:
        """Train the model as the configuration says.

        Parameters
        ----------
        model : Model
            From `build_model`.
        data : DataSet
            From `load_data`.
        callbacks : sequence of Callback
            More than the configuration's.
        folder : str or Path
            Where files of callbacks go.
        **options
            progress, checkpoint, resume: see `xcnn.training.fit`.

        Returns
        -------
        History
            What was measured.
        """
        train, validation = self.data.parts(data, self.seed)
        loss = self.loss.make()
        labels = [part and _labels(part.y, len(data.classes), loss) for part in (train, validation)]
        own = [spec.make() for spec in self.callbacks]
        for callback in own:
            if hasattr(callback, "path"):
                callback.path = type(callback.path)(Path(folder) / callback.path)
        return model.fit(
            train.x,
            labels[0],
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer=self.optimizer.make(),
            loss=loss,
            schedule=None if self.schedule is None else self.schedule.make(),
            validation=None if validation is None else (validation.x, labels[1]),
            callbacks=[*own, *callbacks],
            metrics=self.metrics or ["accuracy"],
            augment=Compose([spec.make() for spec in self.data.augment]) if self.data.augment else None,
            seed=self.seed,
            **options,
        )


def _labels(y: Any, count: int, loss: Any) -> Any:
    """Return classes as the loss wants them: one-hot for a loss of numbers."""
    return y if loss.classifies else np.eye(count, dtype=np.float32)[y]


def _in_the_file(error: Error, added: int) -> tuple[str, str]:
    """Return the layer's path in the file, and what is wrong with it."""
    place = re.search(r"\((layers\[(\d+)\].*)\)", error.where)
    assert place is not None
    kind, path = error.where[: place.start()].strip(), place[1]
    return re.sub(r"\d+", str(int(place[2]) - added), path, count=1), f"{kind}: {error.what}"


def load_config(path: str | Path, /) -> RunConfig:
    """Read the JSON configuration of a run.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    RunConfig
        Checked; a relative folder of images has become absolute.

    Raises
    ------
    FileError
        If it cannot be read.
    ConfigError
        If it is no JSON, or with one line for each thing that is wrong, each with its path in the file:
        ``run.json: layers[2].kernel_size: got -1; needed an integer of at least 1``.
    """
    config = RunConfig.from_dict(read_json(path), where=str(path))
    return config.model_copy(update={"data": config.data.under(Path(path).parent, where=str(path))})

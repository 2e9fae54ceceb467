"""The data of a run, as a configuration says it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from xcnn import data
from xcnn.data.sets import SETS
from xcnn.errors import DataError
from xcnn.io.refusals import refusal
from xcnn.io.specs import AnyAugmentation, Spec

__all__ = ["DataSpec"]

_CLASS = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
_PAIR = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}


def _names_or_labels(value: list[Any]) -> list[Any]:
    if not all(isinstance(c, (str, int)) and not isinstance(c, bool) for c in value):
        raise refusal({"": f"got {value!r}; needed names or labels of classes"})
    return value


def _two(value: list[int]) -> list[int]:
    if len(value) != 2 or min(value) < 1:
        raise refusal({"": f"got {value!r}; needed the height and the width, in pixels"})
    return value


class DataSpec(Spec):
    """Which images, how many, and what is done with them before a model sees them.

    Parameters
    ----------
    name : str, optional
        A public data set; see `xcnn.data.load`.
    path : str, optional
        In place of a name: a folder of images. A relative one starts at the configuration's own folder.
    classes : list of str or int, optional
        Names or labels of the classes to keep.
    train_size, test_size : int, optional
        How many images to keep of each part.
    validation : float, optional
        The fraction of the training images that is held out to validate on, the same of every class.
    normalize : bool
        Whether the model begins by standardising each channel, by the statistics of the training images.
    augment : list
        Augmentations, in order.
    size : list of int, optional
        For a folder: height and width to which the images are resized, in pixels.
    grey : bool, optional
        For a folder: whether the images are made grey.
    download : bool
        Whether missing files may be downloaded.
    """

    name: Literal[tuple(SETS)] | None = Field(None, description="A public data set.")  # type: ignore[valid-type]
    path: str | None = Field(
        None, description="A folder of images, a sub-folder per class; relative to this file."
    )
    classes: Annotated[list[Any], AfterValidator(_names_or_labels)] | None = Field(
        None,
        min_length=1,
        description="Names or labels of the classes to keep.",
        json_schema_extra={"items": _CLASS},
    )
    train_size: int | None = Field(None, ge=1, description="How many training images to keep.")
    test_size: int | None = Field(None, ge=1, description="How many test images to keep.")
    validation: float | None = Field(
        None, gt=0, lt=1, description="Fraction of the training images to validate on, after each epoch."
    )
    normalize: bool = Field(False, description="Standardise each channel; the statistics go into the model.")
    augment: list[AnyAugmentation] = Field([], description="Augmentations of the training images, in order.")
    size: Annotated[list[int], AfterValidator(_two), WithJsonSchema(_PAIR)] | None = Field(
        None, description="For a folder: height and width that the images are resized to."
    )
    grey: bool | None = Field(None, description="For a folder: whether the images are made grey.")
    download: bool = Field(True, description="Whether missing files may be downloaded.")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return {"path": value} if value not in SETS and ("/" in value or os.sep in value) else {"name": value}

    @model_validator(mode="after")
    def _is_one_thing(self) -> DataSpec:
        if (self.name is None) == (self.path is None):
            came = "neither name nor path" if self.name is None else "both name and path"
            raise refusal({"": f"got {came}; needed one of them"})
        if self.name is not None and (self.size is not None or self.grey is not None):
            option = "grey" if self.size is None else "size"
            raise refusal({option: f"is for folders of images; {self.name!r} has its own"})
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        """Allow the bare name."""
        schema = handler(core_schema)
        objects = handler.resolve_ref_schema(schema)
        whole = dict(objects)
        objects.clear()
        objects["anyOf"] = [{"type": "string", "description": "A name, or a folder (with a slash)."}, whole]
        return schema

    @property
    def label(self) -> str:
        """The name, or that of the folder."""
        return self.name or Path(self.path or "").name

    def under(self, folder: str | os.PathLike[str], /) -> DataSpec:
        """Return this with a relative path made absolute.

        Parameters
        ----------
        folder : path
            Where a relative path starts.

        Returns
        -------
        DataSpec
            Itself where there is nothing to do.
        """
        if self.path is None:
            return self
        return self.model_copy(update={"path": str((Path(folder) / Path(self.path).expanduser()).resolve())})

    def load(self, seed: int = 0, /) -> data.DataSet:
        """Return the images.

        Parameters
        ----------
        seed : int
            Decides which images are kept where there are too many.

        Returns
        -------
        DataSet
            See `xcnn.data.load`.

        Raises
        ------
        FileError, DataError, OptionError
            As `xcnn.data.load` does.
        """
        size = None if self.size is None else (self.size[0], self.size[1])
        return data.load(
            self.name or str(self.path),
            classes=self.classes,
            train_size=self.train_size,
            test_size=self.test_size,
            seed=seed,
            download=self.download,
            size=size,
            grey=self.grey,
        )

    def parts(self, images: data.DataSet, seed: int = 0, /) -> tuple[data.Split, data.Split | None]:
        """Return the images to learn from and those to validate on.

        Parameters
        ----------
        images : DataSet
            From `load`.
        seed : int
            Decides which are held out.

        Returns
        -------
        train : Split
            To learn from.
        validation : Split or None
            None if no fraction is given.
        """
        if self.validation is None:
            return images.train, None
        return data.split(images.train.x, images.train.y, self.validation, seed=seed)

    def statistics(self, train: data.Split, /) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of each channel, to normalise by.

        Parameters
        ----------
        train : Split
            From `parts`.

        Returns
        -------
        mean, std : tuple of float
            One per channel; a constant channel gets 1.

        Raises
        ------
        DataError
            If pixels are not finite.
        """
        mean, std = data.channel_statistics(train.x)
        return mean, tuple(s or 1.0 for s in std)

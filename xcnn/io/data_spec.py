"""The data of a run, as a configuration says it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from xcnn import data
from xcnn.data.sets import SETS
from xcnn.errors import ConfigError, suggest
from xcnn.io.refusals import refusal
from xcnn.io.spec import Described, Spec
from xcnn.io.specs import AnyAugmentation

__all__ = ["DataSpec"]


def _check_classes(value: list[Any]) -> list[Any]:
    if not value or not all(isinstance(c, (str, int)) and not isinstance(c, bool) for c in value):
        raise refusal({"": f"got {value!r}; needed names or labels of classes"})
    return value


def _check_size(value: list[int]) -> list[int]:
    if len(value) != 2 or min(value) < 1:
        raise refusal({"": f"got {value!r}; needed the height and the width, in pixels"})
    return value


_NAME_OR_LABEL = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
_LIST = {"type": "array", "items": _NAME_OR_LABEL, "minItems": 1}
_TWO = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2}

_Name: Any = Literal[tuple(SETS)]
_Classes: TypeAlias = Annotated[list[Any], AfterValidator(_check_classes), Described(_LIST)]
_Size: TypeAlias = Annotated[list[int], AfterValidator(_check_size), Described(_TWO)]


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

    name: _Name | None = None
    path: str | None = None
    classes: _Classes | None = None
    train_size: int | None = Field(None, ge=1)
    test_size: int | None = Field(None, ge=1)
    validation: float | None = Field(None, gt=0, lt=1)
    normalize: bool = False
    augment: list[AnyAugmentation] = Field([])
    size: _Size | None = None
    grey: bool | None = None
    download: bool = True

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value in SETS:
            return {"name": value}
        if "/" in value or os.sep in value:
            return {"path": value}
        msg = f"unknown data set {value!r}{suggest(value, SETS)}; of a folder, the path with a slash"
        raise refusal({"": msg})

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
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        whole = handler.resolve_ref_schema(schema)
        branches = [{"type": "string"}, dict(whole)]
        whole.clear()
        whole["anyOf"] = branches
        return schema

    @property
    def label(self) -> str:
        """The name, or that of the folder."""
        return self.name or Path(self.path or "").name

    def under(self, folder: str | os.PathLike[str], /, *, where: str = "") -> DataSpec:
        """Return this with a relative path made absolute.

        Parameters
        ----------
        folder : path
            Where a relative path starts.
        where : str
            Begins the error: the file.

        Returns
        -------
        DataSpec
            Itself where there is nothing to do.

        Raises
        ------
        ConfigError
            If it is no path: of a home that nobody has, or with a null character.
        """
        if self.path is None:
            return self
        try:
            path = (Path(folder) / Path(self.path).expanduser()).resolve()
        except (OSError, RuntimeError, ValueError) as error:
            msg = f"data.path: got {self.path!r}, which is no path: {error}; needed that of a folder"
            raise ConfigError(msg, where=where) from error
        return self.model_copy(update={"path": str(path)})

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

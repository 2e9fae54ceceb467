"""The folder of a run: where it is, and what is known of the run that made a model."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from xcnn.data.sets import SETS
from xcnn.errors import Error, FileError, OptionError, suggest
from xcnn.io.config import RunConfig, load_config
from xcnn.io.data_spec import DataSpec

__all__ = [
    "CONFIG",
    "MODEL",
    "choose_folder",
    "config_beside",
    "find_model",
    "make_folder",
    "refuse_existing",
]

MODEL, CONFIG = "model.xcnn", "config.json"


def choose_folder(out: Path | None, name: str | None, label: str, /) -> Path:
    """Return where a run is to be written.

    Parameters
    ----------
    out : Path, optional
        The folder itself.
    name : str, optional
        In place of `out`: its name under ``runs``.
    label : str
        Without both, the name begins with this and ends in the time.

    Returns
    -------
    Path
        Not made yet.

    Raises
    ------
    OptionError
        If both `out` and `name` are given, or `name` is no name.
    FileError
        If it exists and is not an empty folder.
    """
    if out is not None and name is not None:
        msg = "got --out and --name; needed one of them: --name NAME is --out runs/NAME"
        raise OptionError(msg)
    if name is not None and (Path(name).name != name or name in (".", "..")):
        msg = f"--name is {name!r}; needed a plain name (a path is given by --out)"
        raise OptionError(msg)
    folder = out or Path("runs") / (name or f"{label}-{datetime.now():%Y%m%d-%H%M%S}")
    refuse_existing(folder)
    return folder


def refuse_existing(folder: Path, /) -> None:
    """Raise FileError if `folder` is there and is not an empty folder."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        msg = "exists already, and no run is overwritten; needed a new folder: --out or --name"
        raise FileError(msg, where=str(folder))


def make_folder(folder: Path, /) -> None:
    """Make `folder`; raise FileError if that fails or if somebody else was first."""
    refuse_existing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=folder.exists())
    except OSError as error:
        msg = f"cannot be made: {error.strerror or error}"
        raise FileError(msg, where=str(folder)) from error


def find_model(path: Path, /) -> Path:
    """Return the model file that `path`, a file or the folder of a run, stands for."""
    return path / MODEL if path.is_dir() else path


def config_beside(model: Path, /) -> RunConfig | None:
    """Return the configuration that lies beside the file `model`, or None where there is no valid one."""
    try:
        return load_config(model.parent / CONFIG)
    except Error:
        return None


def named_data(text: str, /) -> DataSpec:
    """Return the data that `text` on the command line stands for: a name, or a folder of images.

    Parameters
    ----------
    text : str
        What came after ``--data``.

    Returns
    -------
    DataSpec
        All of it.

    Raises
    ------
    OptionError
        If there is neither.
    """
    if Path(text).is_dir():
        return DataSpec(path=str(Path(text).resolve()))
    if text not in SETS:
        msg = f"unknown data set {text!r}, and no folder of that name{suggest(text, SETS)}"
        raise OptionError(msg, where="--data")
    return DataSpec(name=text)

"""The folder of a run: where it is, and what is known of the run that made a model."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from xcnn.data.sets import SETS
from xcnn.errors import Error, FileError, OptionError, suggest
from xcnn.files import as_file_error, ensure_folder, is_leftover
from xcnn.io.config import RunConfig, load_config
from xcnn.io.data_spec import DataSpec
from xcnn.training.checkpoint import LOCK, newest_checkpoint, steps_saved

__all__ = [
    "CHECKPOINTS",
    "CONFIG",
    "MODEL",
    "choose_folder",
    "config_beside",
    "find_begun",
    "find_model",
    "make_folder",
    "refuse_existing",
    "refuse_other",
]

MODEL, CONFIG, CHECKPOINTS = "model.xcnn", "config.json", "checkpoints"
RUNS = Path("runs")


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
    folder = _named(out, name) or RUNS / f"{label}-{datetime.now():%Y%m%d-%H%M%S}"
    refuse_existing(folder)
    return folder


def _named(out: Path | None, name: str | None) -> Path | None:
    """Return the folder that --out or --name says, or None."""
    if out is not None and name is not None:
        msg = "got --out and --name; needed one of them: --name NAME is --out runs/NAME"
        raise OptionError(msg)
    if name is not None and (Path(name).name != name or name in (".", "..")):
        msg = f"--name is {name!r}; needed a plain name (a path is given by --out)"
        raise OptionError(msg)
    return out if name is None else RUNS / name


def find_begun(given: Path | None, out: Path | None, name: str | None, /) -> Path | None:
    """Return the folder of the run that ``--resume`` goes on with.

    Parameters
    ----------
    given : Path, optional
        Its folder, or one of its checkpoints; a configuration says nothing about the folder.
    out, name
        See `choose_folder`; without any of them it is the newest run under ``runs``.

    Returns
    -------
    Path or None
        None where `out` or `name` says a folder in which nothing has begun.

    Raises
    ------
    OptionError
        If the folder is given twice.
    FileError
        If there is no run.
    """
    folder = _named(out, name)
    if given is not None and (given.is_dir() or given.suffix == ".xcnn"):
        if folder is not None:
            msg = f"got {given} and {folder}; needed one of them: --resume goes on in the run's own folder"
            raise OptionError(msg)
        given = given.absolute().parent.parent if given.suffix == ".xcnn" else given
        if not _has_begun(given):
            raise FileError(f"is no run: it has no {CONFIG}", where=str(given))
        return given
    if folder is not None:
        return folder if _has_begun(folder) else None
    begun = [path.parent for path in RUNS.glob(f"*/{CONFIG}") if (path.parent / CHECKPOINTS).is_dir()]
    if not begun:
        msg = "has no run to go on with; needed its folder: xcnn train --resume FOLDER"
        raise FileError(msg, where=str(RUNS))
    return max(begun, key=lambda run: (run / CHECKPOINTS).stat().st_mtime)


def _has_begun(folder: Path) -> bool:
    """Whether a run began in a folder; if its configuration was lost, a checkpoint gives it back."""
    if not (folder / CONFIG).is_file() and steps_saved(folder / CHECKPOINTS):
        contents = newest_checkpoint(folder / CHECKPOINTS)
        RunConfig.from_dict(contents.state.get("config"), where=str(contents.path)).save(folder / CONFIG)
    return (folder / CONFIG).is_file()


def refuse_other(run: RunConfig, folder: Path, /) -> None:
    """Raise OptionError unless `run` is the one begun in `folder`; but for more epochs, or the backend."""
    before, now = load_config(folder / CONFIG).to_dict(), run.to_dict()
    differing = [key for key in before | now if key != "backend" and before.get(key) != now.get(key)]
    if differing == ["epochs"] and now["epochs"] > before["epochs"]:
        return
    if differing:
        was, given = ({key: content.get(key) for key in differing} for content in (before, now))
        msg = f"was begun with {was}, and is to go on with {given}; needed the same, or another folder"
        raise OptionError(msg, where=str(folder))


def refuse_existing(folder: Path, /) -> None:
    """Raise FileError if `folder` is there and holds anything."""
    if folder.exists() and not (folder.is_dir() and all(map(_is_nothing, folder.iterdir()))):
        msg = "exists already, and no run is overwritten; needed a new folder: --out or --name"
        raise FileError(msg, where=str(folder))


def _is_nothing(path: Path) -> bool:
    """Whether it is what a run left that was killed before it began."""
    if path.name == CHECKPOINTS and path.is_dir():
        return all(_is_nothing(inner) for inner in path.iterdir())
    return is_leftover(path) or path.parts[-2:] == (CHECKPOINTS, LOCK)


def make_folder(folder: Path, /) -> None:
    """Make `folder`; raise FileError if that fails or if somebody else was first."""
    refuse_existing(folder)
    with as_file_error(folder):
        ensure_folder(folder)


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

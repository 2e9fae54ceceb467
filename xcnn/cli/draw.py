"""`xcnn draw`: a page to try models on."""

from __future__ import annotations

import gc
import importlib.util
import sys
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import xcnn
from xcnn.calibration import calibrate as calibrated
from xcnn.cli.console import BackendOption, DebugOption, commanded, note, say
from xcnn.cli.runs import MODEL, config_beside, find_model
from xcnn.cli.train import default_config, learn
from xcnn.data.sets import available
from xcnn.errors import DataError, Error, FileError, ShapeError
from xcnn.io.config import RunConfig
from xcnn.model import Model

if TYPE_CHECKING:
    from xcnn.draw.served import Served

__all__ = ["draw"]

_NEEDED = {
    "httptools": "httptools",
    "python_multipart": "python-multipart",
    "starlette": "starlette",
    "uvicorn": "uvicorn",
}
_OWN = {name: Path("runs") / f"draw-{name}" for name in ("mnist", "digits")}  # models trained for the page
_HELD_OUT = 5_000  # images that are enough for one number
_SWITCH = 5e-4  # seconds that a thread may keep the interpreter while a request waits; 5e-3 is Python's own


@commanded
def draw(
    models: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="MODEL",
            help="Model files, or folders of runs; without, a small network first learns to read digits.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Where to listen: 8080 or the next free one; 0 takes any."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Who can connect: this machine alone, or 0.0.0.0 for others, by a token.")
    ] = "127.0.0.1",
    examples: Annotated[
        Path, typer.Option(help="The folder that corrected drawings are saved to, for xcnn train --data.")
    ] = Path("drawings"),
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Add a copy of each model with calibrated probabilities.")
    ] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    token: Annotated[
        str | None, typer.Option(help="What requests must show; made up where others can connect.")
    ] = None,
    backend: BackendOption = None,
    debug: DebugOption = False,
) -> None:
    """Open a page to try models on: draw, and see what they say and what every layer makes of it.

    It is served from this machine, to this machine; GET /help tells programs how to ask. Ctrl-C ends it.

    Parameters
    ----------
    models : list of Path, optional
        Model files, or folders of runs.
    port : int, optional
        Where to listen.
    host : str
        Who can connect.
    examples : Path
        The folder that corrected drawings are saved to.
    calibrate : bool
        Whether to add a copy of each model with calibrated probabilities.
    no_browser : bool
        Whether only to print the address.
    token : str, optional
        What requests must show.
    backend : str, optional
        Where to run.
    debug : bool
        Whether errors show where they came from.
    """
    _check_extra()
    from xcnn.draw.app import application
    from xcnn.draw.server import PORT, listen, run

    address = listen(host, port, token=token)  # first: nothing is trained for a port that is taken
    with address.socket:
        served = _loaded(models or [_own(backend)], backend, calibrate)
        for one in served:
            one.warm()
        app = application(served, examples=examples, token=address.token, hosts=address.hosts)
        if port is None and address.port != PORT:
            note(f"note: port {PORT} is taken; this is {address.port}")
        if not address.loopback:
            note(
                "note: others can connect, and the connection is not encrypted: "
                "whoever reads along has the token"
            )

        def ready() -> None:
            say(f"The drawing pad is at {address.url} (Ctrl-C ends it)")
            if not no_browser:
                threading.Thread(target=_open, args=(address.url,), daemon=True).start()

        sys.setswitchinterval(_SWITCH)
        gc.collect()
        gc.freeze()  # what is there stays; looking through it would cost a request tens of milliseconds
        run(app, address, ready)


def _loaded(paths: list[Path], backend: str | None, calibrate: bool) -> list[Served]:
    """Return the models of files or folders, each followed by its calibrated copy if that is wanted."""
    from xcnn.draw.served import Served

    served: list[Served] = []
    for path in paths:
        file = find_model(path)
        model, config = xcnn.load(file, backend=backend), config_beside(file)
        spec = None if config is None else config.data
        name = file.resolve().parent.name if file.name == MODEL else file.stem
        served.append(Served(name, model, spec))
        if calibrate:
            served.append(Served(f"{name} calibrated", _calibrated(model, config, name), spec))
    return served


def _check_extra() -> None:
    missing = [name for module, name in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise Error(f'the drawing pad needs {", ".join(missing)}: pip install "xcnn[draw]"')


def _own(backend: str | None) -> Path:
    """Return the folder of a model for the page: one that was trained for it before, or now."""
    name = "mnist" if (_OWN["mnist"] / MODEL).is_file() or available()["mnist"] else "digits"
    folder = _OWN[name]
    if (folder / MODEL).is_file():
        say(f"Taking {folder / MODEL}, which an earlier xcnn draw trained (delete it to train anew)")
        return folder
    if folder.is_dir() and any(folder.iterdir()):
        msg = f"holds no {MODEL}: a training was cut off, or goes on in another xcnn draw"
        raise FileError(f"{msg}; needed its end, or the folder deleted", where=str(folder))
    changes = {"backend": xcnn.get_backend(backend).name}
    config = default_config(name).model_copy(update=changes)
    say(f"No model was given: a small network learns {name} first, once; its folder is {folder}")
    say("(Ctrl-C ends its training early; what it has learned after an epoch is used)")
    if name == "digits":
        say("(8 x 8 pixels show little of a drawing. MNIST has 28 x 28, but isn't on this machine:")
        say(
            """ python -c "import xcnn; xcnn.data.load('mnist')" downloads it, 11 MB; then xcnn draw again)"""
        )
    images = config.load_data()
    learn(config, config.build_model(images), images, folder)
    return folder


def _calibrated(model: Model, config: RunConfig | None, name: str) -> Model:
    """Return a copy of `model` whose probabilities fit images that it was not trained on."""
    if config is None:
        msg = "there is no config.json beside it that says which data it learned from; needed for --calibrate"
        raise DataError(msg, where=name)
    images = config.load_data()
    _, held_out = config.data.parts(images, config.seed)
    if held_out is None:
        held_out = images.test
    x, y = held_out.x, held_out.y
    if tuple(x.shape[1:]) != model.input_shape:
        msg = f"takes inputs {model.input_shape}; the images of its run are {tuple(x.shape[1:])}"
        raise ShapeError(msg, where=name)
    every = -(-len(y) // _HELD_OUT)
    return calibrated(model, x[::every], y[::every])


def _open(url: str) -> None:
    """Open a browser, unless it would take over this terminal."""
    try:
        found: Any = webbrowser.get()
    except webbrowser.Error:
        return
    if type(found) is not webbrowser.GenericBrowser:
        found.open(url)

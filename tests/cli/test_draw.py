"""`xcnn draw`: which models it serves, where, and how it ends."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from pathlib import Path

import numpy as np
import pytest

import xcnn
from xcnn.cli.train import default_config

pytest.importorskip("uvicorn", reason="the drawing pad needs xcnn[draw]")
from starlette.testclient import TestClient

ROOT = Path(__file__).parents[2]


class _Served:
    """Takes the place of the server: keeps what it was given, and asks the application itself."""

    client = None

    def __call__(self, app, address, ready):
        """Say that requests are answered, and end."""
        ready()
        address.socket.close()
        self.close()
        self.token = address.token
        self.client = TestClient(app, base_url="http://127.0.0.1")
        self.client.__enter__()

    def close(self):
        """End the application."""
        if self.client is not None:
            self.client.__exit__(None, None, None)

    def get(self, path):
        """Return the JSON of an answer."""
        return self.client.get(path).json()


@pytest.fixture
def served(monkeypatch):
    """What would be served; the process keeps its settings."""
    found = _Served()
    monkeypatch.setattr("xcnn.draw.server.run", found)
    monkeypatch.setattr("xcnn.draw.server.Address.hosts", {"127.0.0.1"})
    monkeypatch.setattr(sys, "setswitchinterval", lambda _: None)
    monkeypatch.setattr("gc.freeze", lambda: None)
    yield found
    found.close()


def test_models_are_named_by_their_files_and_folders(xcnn_command, served, trained, tmp_path):
    folder, _ = trained
    other = tmp_path / "other.xcnn"
    other.write_bytes((folder / "model.xcnn").read_bytes())
    shown = xcnn_command("draw", folder, folder / "model.xcnn", other, "--no-browser", "--port", 0).output
    told = served.get("/model")
    assert told["models"] == ["run", "run 2", "other"]
    assert told["data"] == "digits"  # the run says so
    assert served.get("/model?model=other")["data"] is None
    assert re.search(r"http://127\.0\.0\.1:\d+/ ", shown)


def test_calibrated_copies_are_added(xcnn_command, served, trained):
    folder, _ = trained
    xcnn_command("draw", folder, "--no-browser", "--port", 0, "--calibrate")
    assert served.get("/model")["models"] == ["run", "run calibrated"]
    kernel, other = (served.get(f"/layers/3?model=run{more}")["kernels"] for more in ("", "%20calibrated"))
    ratio = np.array(other["values"]) / np.array(kernel["values"])
    assert np.ptp(ratio) < 1e-3 < abs(ratio.mean() - 1)


def test_a_model_of_unknown_data_is_not_calibrated(xcnn_command, served, trained, tmp_path):
    folder, _ = trained
    other = tmp_path / "other.xcnn"
    other.write_bytes((folder / "model.xcnn").read_bytes())
    shown = xcnn_command("draw", other, "--port", 0, "--calibrate", code=2).output
    assert "other: there is no config.json beside it" in shown


def test_without_a_model_one_is_trained_once(xcnn_command, served, monkeypatch):
    small = default_config("digits").model_copy(update={"epochs": 1})
    monkeypatch.setattr("xcnn.cli.draw.default_config", lambda name: {"digits": small}[name])
    shown = xcnn_command("draw", "--no-browser", "--port", 0).output
    assert "a small network learns digits first" in shown
    assert "Learned for" in shown
    assert served.get("/model")["name"] == "draw-digits"
    shown = xcnn_command("draw", "--no-browser", "--port", 0).output
    assert f"Taking {Path('runs/draw-digits/model.xcnn')}" in shown
    assert "Learned for" not in shown


def test_a_folder_of_a_training_that_was_cut_off_is_told(xcnn_command, served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/draw-digits")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    shown = xcnn_command("draw", "--no-browser", "--port", 0, code=2).output
    assert f"{folder}: holds no model.xcnn: a training was cut off" in shown


def test_nothing_is_trained_for_a_port_that_is_taken(xcnn_command, served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        shown = xcnn_command("draw", "--port", taken.getsockname()[1], "--no-browser", code=2).output
    assert "learns" not in shown
    assert not Path("runs").exists()


def test_mnist_is_learned_where_it_is_at_hand(xcnn_command, served, monkeypatch):
    asked = []
    monkeypatch.setattr("xcnn.cli.draw.available", lambda: {"mnist": Path(), "digits": Path()})
    monkeypatch.setattr("xcnn.cli.draw.default_config", lambda name: asked.append(name) or 1 / 0)
    with pytest.raises(AssertionError):
        xcnn_command("draw", "--no-browser")
    assert asked == ["mnist"]


def test_what_learns_mnist_is_valid_and_small():
    config = default_config("mnist")
    assert config.data.label == "mnist"
    assert config.data.augment
    shape = (1, 28, 28)
    model = xcnn.Model([spec.root.make() for spec in config.layers], input_shape=shape, backend="numpy")
    assert model.output_shape == (10,)
    assert model.state.size < 50_000


def test_a_missing_extra_is_named(xcnn_command, trained, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "starlette" else find(name))
    shown = xcnn_command("draw", trained[0], code=2).output
    assert 'the drawing pad needs starlette: pip install "xcnn[draw]"' in shown


def test_a_taken_port_is_refused_where_it_was_asked_for(xcnn_command, served, trained):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shown = xcnn_command("draw", trained[0], "--port", port, "--no-browser", code=2).output
    assert f"port {port}: Address already in use" in shown


def test_the_next_port_is_taken_where_none_was_asked_for(xcnn_command, served, trained, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("xcnn.draw.server.PORT", port)
        shown = xcnn_command("draw", trained[0], "--no-browser").output
    assert f"port {port} is taken; this is" in shown


def test_others_get_a_token_and_a_warning(xcnn_command, served, trained):
    shown = xcnn_command("draw", trained[0], "--host", "0.0.0.0", "--port", 0, "--no-browser").output
    assert "not encrypted" in shown
    assert re.search(r"http://[^/]+/\?token=[\w-]{20,} ", shown)
    assert served.token in shown


def test_the_browser_is_opened_where_there_is_one(xcnn_command, served, trained, monkeypatch):
    opened = []

    class Browser:
        """One with a window."""

        def open(self, url):
            """Open it."""
            opened.append(url)

    monkeypatch.setattr(webbrowser, "get", Browser)
    monkeypatch.setattr("xcnn.cli.draw.threading.Thread", _AtOnce)
    xcnn_command("draw", trained[0], "--port", 0)
    assert len(opened) == 1
    assert opened[0].startswith("http://127.0.0.1:")


def test_no_browser_takes_over_the_terminal(xcnn_command, served, trained, monkeypatch):
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("www-browser"))
    monkeypatch.setattr(webbrowser.GenericBrowser, "open", lambda *_: 1 / 0)
    monkeypatch.setattr("xcnn.cli.draw.threading.Thread", _AtOnce)
    xcnn_command("draw", trained[0], "--port", 0)


class _AtOnce:
    """A thread that doesn't wait."""

    def __init__(self, target, args, daemon):
        self.start = lambda: target(*args)


def test_ctrl_c_ends_it_quietly_and_at_once(trained):
    command = [sys.executable, "-m", "xcnn", "draw", str(trained[0]), "--port", "0", "--no-browser"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        cwd=ROOT,
    )
    try:
        line = process.stdout.readline()
        url = re.search(r"http://\S+", line).group()
        with urllib.request.urlopen(f"{url}model") as reply:
            assert reply.status == 200
        port = int(url.rstrip("/").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as half:
            half.sendall(b"POST /predict HTTP/1.1\r\n")
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
            seconds = time.monotonic() - start
        assert (process.returncode, out, err) == (0, "", "")
        assert seconds < 2  # a second, and time to take the interpreter down on a busy machine
    finally:
        process.kill()

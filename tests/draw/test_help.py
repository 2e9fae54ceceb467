"""What GET /help says is so: its curl lines are answered, and the fields that it names come."""

from __future__ import annotations

import io
import itertools
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette")

from PIL import Image

import xcnn
from xcnn.draw.app import application
from xcnn.draw.limits import Limits
from xcnn.draw.served import Served
from xcnn.io.data_spec import DataSpec

HELP = (Path(xcnn.__file__).parent / "draw" / "help.txt").read_text()
CURL = [line.strip() for line in HELP.splitlines() if line.strip().startswith("curl ")]
JSON = {"content-type": "application/json"}


@pytest.fixture
def asked(client_of, model, tmp_path):
    """A client of a server that knows its training images."""
    served = Served("digits", model, DataSpec(name="digits"))
    return client_of(application([served], examples=tmp_path / "drawings"))


def _image(kind):
    file = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(file, kind)
    return file.getvalue()


def _send(client, line):
    """Ask as a curl line does."""
    words = shlex.split(line)[1:]
    (url,) = (word for word in words if word.startswith("http://127.0.0.1:8080/"))
    given = dict(itertools.pairwise(words))
    if "--json" in given:
        assert json.loads(given["--json"].replace(", ...", "")) == {"images": [[0, 0, 255]]}
        whole = np.where(np.eye(8, dtype=int), 255, 0).tolist()
        return client.post(url, content=json.dumps({"images": whole}), headers=JSON)
    if "--data-binary" in given:
        name, _, value = given["-H"].partition(": ")
        assert given["--data-binary"] == "@seven.png"
        return client.post(url, content=_image("png"), headers={name: value})
    names = [word.partition("=@")[2] for word in words if word.startswith("file=@")]
    files = [("file", (name, _image("jpeg" if name.endswith("jpg") else "png"))) for name in names]
    return client.post(url, files=files)


@pytest.mark.parametrize("line", CURL)
def test_every_curl_line_is_answered(asked, line):
    reply = _send(asked, line)
    assert reply.status_code in (200, 201), reply.text
    assert len(reply.json().get("predictions", [0])) == max(1, line.count("file=@"))


def _documented():
    """The fields that are named for each kind of answer."""
    text = HELP[HELP.index("What comes back") : HELP.index("Limits: ")]
    told, at = {}, ""
    for line in text.splitlines()[3:]:
        at = line[:26].strip() or at
        told[at] = told.get(at, "") + " " + line[26:]
    return {at: set(re.findall(r"\w+", re.sub(r"\(.*?\)", "", words))) for at, words in told.items()}


def _names(value):
    """All keys in an answer, those inside included; but not names that are data."""
    if isinstance(value, list):
        return set().union(*map(_names, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    return {*value}.union(*(_names(inner) for key, inner in value.items() if key != "counts"))


@pytest.mark.parametrize(
    ("ask", "at", "also"),
    [
        ("GET /model", "GET /model", "GET /layers"),
        ("GET /layers", "GET /layers", None),
        ("GET /layers/0", "GET /layers/ID", "GET /layers"),
        ("POST /predict?inputs=true", "POST /predict", None),
        ("POST /layers", "POST /layers", "POST /predict"),
        ("POST /layers/0", "convolution", "POST /layers/ID"),
        ("POST /layers/1", "pooling", "POST /layers/ID"),
        ("POST /layers/2", "other", "POST /layers/ID"),
        ("POST /layers/3", "dense", "POST /layers/ID"),
        ("POST /why", "POST /why", None),
        ("POST /examples?label=7", "POST /examples", None),
    ],
)
def test_the_fields_that_come_are_those_that_are_documented(asked, pictures, ask, at, also):
    method, path = ask.split()
    body = json.dumps(pictures[0].tolist())
    reply = asked.get(path) if method == "GET" else asked.post(path, content=body, headers=JSON)
    assert reply.is_success, reply.text
    come, told = _names(reply.json()), _documented()
    assert come <= told[at] | (told[also] if also else set())
    missing = {"kernels_left_out", "left_out"}  # only of what is too much
    windowless = {"rows", "columns"}  # only of windows
    assert told[at] - come <= missing
    if also and also != "POST /predict":
        assert told[also] - come <= windowless | {"model", "layers"}


def test_the_limits_are_those_of_the_server():
    limits = Limits()
    told = " ".join(HELP[HELP.index("Limits: ") :].split())
    assert f"Limits: {limits.body >> 20} MiB, {limits.pictures} pictures and " in told
    assert f" {limits.pixels // 10**6} million pixels in a request, {limits.side:,} pixels along" in told
    assert f" {limits.seconds:g} seconds for a body to arrive, {limits.requests} requests at once." in told

"""What the server's benchmark sends, reads and reports. Times are not judged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from bench import load, page, report, serve
from bench.load import Load, Request, Server
from bench.nets import NETS

ROOT = Path(__file__).parents[1]
PATH = os.pathsep.join(map(str, (ROOT, ROOT / "backends")))
HEADING = "response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset\n"
ANSWERS = (
    "import http.server as h, sys\n"
    "class Handler(h.BaseHTTPRequestHandler):\n"
    "    def do_POST(self):\n"
    "        self.rfile.read(int(self.headers['Content-Length']))\n"
    "        self.send_response(200); self.end_headers(); self.wfile.write(sys.argv[1].encode())\n"
    "server = h.HTTPServer(('127.0.0.1', 0), Handler)\n"
    "print(f'listening on http://127.0.0.1:{server.server_port}/')\n"
    "server.serve_forever()\n"
)


def _lines(*times: float, status: str = "200") -> str:
    return "".join(f"{t:.4f},0,0,0,0,0,{status},{k:.4f}\n" for k, t in enumerate(times))


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A program called hey that keeps its arguments and tells of two answers to each client."""
    kept = tmp_path / "arguments"
    program = tmp_path / "hey"
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$*" >> {kept}\nprintf "{HEADING}{_lines(0.001, 0.003)}"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return kept


def test_percentiles_are_times_that_were_measured():
    found = load.read(HEADING + _lines(*(k / 1e3 for k in range(100, 0, -1))), 100)
    assert (found.p50, found.p90, found.p99, found.most) == pytest.approx((50.0, 90.0, 99.0, 100.0))
    assert (found.requests, found.failed) == (100, 0)


def test_a_rate_counts_answers_from_the_first_request_to_the_last_answer():
    assert load.read(HEADING + _lines(0.5, 0.5, 0.5, 2.0), 4).rate == pytest.approx(4 / 5.0)


def test_another_status_and_no_answer_at_all_are_failures():
    text = HEADING + _lines(0.001, 0.001) + _lines(0.001, status="503")
    assert load.read(text, 8).failed == 6


def test_a_table_without_answers_is_refused():
    with pytest.raises(ValueError, match="no answer to 8 requests"):
        load.read(HEADING, 8)


def test_without_hey_one_is_told_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="apt-get install hey"):
        load.hey()


def test_a_rate_is_shared_among_the_clients(stand_in, tmp_path):
    request = Request("/predict", "image/png", tmp_path / "a.png")
    paced = load.command("http://127.0.0.1:1", request, 6000, 8, 200.0)
    assert paced[1:] == [
        *("-n", "6000", "-c", "8", "-q", "25", "-m", "POST", "-T", "image/png"),
        *("-D", str(tmp_path / "a.png"), "-o", "csv", "http://127.0.0.1:1/predict"),
    ]
    assert "-q" not in load.command("http://127.0.0.1:1", request, 6000, 8, None)


def test_requests_are_sent_after_some_that_do_not_count_and_others_beside_them(stand_in, tmp_path):
    server, request = Server("http://127.0.0.1:1", os.getpid()), Request("/predict", "image/png", tmp_path)
    beside = (request._replace(path="/layers/0"), 10.0)
    found, other = load.drive(server, request, 0.1, clients=8, rate=160.0, beside=beside)
    sent = sorted(line.split() for line in stand_in.read_text().splitlines())
    assert [(line[1], line[-1].partition(".1:1")[2]) for line in sent] == [
        ("1", "/layers/0"),
        ("16", "/predict"),
        (str(load.WARM), "/predict"),
    ]
    assert (found.requests, found.failed, other.requests) == (16, 14, 1)
    assert found.server is None


def test_a_server_is_known_by_what_it_prints_and_ended():
    command = [sys.executable, "-c", ANSWERS, "{}"]
    with load.serving(command) as server:
        with urllib.request.urlopen(urllib.request.Request(server.address, b"x"), timeout=10) as answer:
            assert answer.read() == b"{}"
        os.kill(server.process, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(server.process, 0)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(server.address, timeout=1)


def test_a_server_that_ends_says_why():
    with (
        pytest.raises(RuntimeError, match="no such model"),
        load.serving([sys.executable, "-c", "print('no such model')"]),
    ):
        pass


def test_a_server_is_not_held_to_the_kernels_of_another_processor(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    tell = "import os; print('http://127.0.0.1:1'); assert 'OPENBLAS_CORETYPE' not in os.environ; input()"
    with load.serving([sys.executable, "-c", tell]) as server:
        assert server.address == "http://127.0.0.1:1"


def test_what_is_sent_is_one_picture_in_two_forms(tmp_path):
    from PIL import Image

    sent = serve.bodies(tmp_path)
    assert list(sent) == ["PNG", "JSON"]
    with Image.open(sent["PNG"].body) as image:
        assert np.array_equal(image, serve.digit())
    assert np.array_equal(json.loads(sent["JSON"].body.read_text()), serve.digit())
    assert {request.kind for request in sent.values()} == {"image/png", "application/json"}


def test_a_server_that_answers_otherwise_is_not_measured(tmp_path):
    right = json.dumps({"predictions": [{"probabilities": [0.25, 0.75]}]})
    with load.serving([sys.executable, "-c", ANSWERS, right]) as server:
        serve.agree(server, serve.bodies(tmp_path), np.asarray([0.25, 0.75]))
        with pytest.raises(AssertionError, match="PNG"):
            serve.agree(server, serve.bodies(tmp_path), np.asarray([0.26, 0.74]))


def test_the_peer_gives_the_same_answers(torch, tmp_path):
    from starlette.testclient import TestClient

    from bench import serve_peer

    model = serve.model()
    weights = [np.asarray(p.value) for p in model.parameters().values()]
    expected = model.predict_proba(serve.digit()[None, None])[0]
    with TestClient(serve_peer.application(NETS[serve.NET], weights)) as client:
        for request in serve.bodies(tmp_path).values():
            headers = {"content-type": request.kind}
            answer = client.post(request.path, content=request.body.read_bytes(), headers=headers)
            (found,) = answer.json()["predictions"]
            np.testing.assert_allclose(found["probabilities"], expected, rtol=1e-4)
            assert found["label"] == int(np.argmax(expected))


def test_the_table_has_ratios_of_p99_or_of_rates_and_marks_disturbed_lines():
    mine = Load(6000, 0, 200.0, 1.0, 1.5, 2.0, 4.0, 0.5, 0.01)
    theirs = Load(6000, 3, 100.0, 2.0, 3.0, 5.0, 9.0, 0.7, 0.2)
    runs = [
        {"side": side, "body": "PNG", "work": work, "asked": asked} | one._asdict()
        for work, asked in (("paced", 200.0), ("flat out", None))
        for side, one in (("xcnn", mine), ("torch", theirs))
    ]
    lines = [" ".join(row) for row in serve.rows(runs)]
    assert lines[1:] == [
        "paced PNG xcnn 200 6,000 0 200.0 1.0 1.5 2.0 4.0 0.50 2.50x",
        "paced PNG torch 200 6,000 3 100.0 2.0 3.0 5.0 9.0* 0.70 -",
        "flat out PNG xcnn - 6,000 0 200.0 1.0 1.5 2.0 4.0 0.50 2.00x",
        "flat out PNG torch - 6,000 3 100.0 2.0 3.0 5.0 9.0* 0.70 -",
    ]
    whole = {"machine": report.machine(), "threads": 2, "net": "B", "clients": 8, "runs": runs}
    assert "net B, 8 clients" in serve.text(whole)


@pytest.mark.skipif(shutil.which("hey") is None, reason="hey, a load tool, is not installed")
def test_a_short_run_prints_the_table_and_writes_the_figures(tmp_path):
    short = "bench.serve --seconds 0.2 --rate 80 --clients 2 --no-peer --json"
    command = [sys.executable, "-m", *short.split(), str(tmp_path / "figures.json")]
    given = os.environ | {"PYTHONPATH": PATH, "OPENBLAS_CORETYPE": "Haswell"}
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "OPENBLAS_CORETYPE=Haswell is unset for this run" in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert "OPENBLAS_CORETYPE" not in figures["machine"]["environment"]
    works = [(run["body"], run["work"], run["requests"], run["failed"]) for run in figures["runs"]]
    assert works[:4] == [
        ("PNG", "paced", 16, 0),
        ("JSON", "paced", 16, 0),
        ("PNG", "hovering", 16, 0),
        ("PNG", "explanations", 6, 0),
    ]
    assert [work[:2] for work in works[4:]] == [("PNG", "flat out"), ("JSON", "flat out")]
    assert all(run["failed"] == 0 and run["rate"] > 0 for run in figures["runs"])


@pytest.mark.parametrize(
    ("option", "expected"),
    [("--rate 0", "--rate is 0"), ("--json nowhere/a.json", "there is no folder nowhere")],
)
def test_a_wrong_option_is_named_before_anything_is_measured(option, expected, stand_in, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench.serve", *option.split()])
    with pytest.raises(SystemExit, match="2"):
        serve.main()
    assert expected in capsys.readouterr().err


def test_strokes_stay_on_the_pad_and_differ():
    found = page.strokes(20)
    assert len({tuple(points) for points in found}) == 20
    assert all(0.1 < value < 0.9 for points in found for point in points for value in point)


def test_the_times_of_strokes_become_a_table():
    runs = [{"work": "drawing", "shown": [float(k) for k in range(1, 101)], "painted": [7.0] * 100}]
    lines = [" ".join(row) for row in page.rows(runs)]
    assert lines[1] == "drawing 100 50.0 90.0 99.0 100.0 7.0 7.0 7.0 7.0"
    whole = {"machine": report.machine(), "threads": 2, "browser": "Chromium 1", "runs": runs}
    assert "Chromium 1" in page.text(whole)


def test_without_chromium_one_is_told_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(SystemExit, match="apt-get install chromium"):
        page.chromium()

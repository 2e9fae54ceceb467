"""A real server on a real socket: it answers, refuses and ends as it should, whoever is connected."""

from __future__ import annotations

import concurrent.futures
import io
import json
import socket
import threading
import time
import zlib

import numpy as np
import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("httpx2")

import httpx2 as httpx
from PIL import Image

from xcnn.draw import serve
from xcnn.draw.limits import Limits
from xcnn.draw.server import listen
from xcnn.errors import OptionError

JSON = {"content-type": "application/json"}


@pytest.fixture
def pad(model):
    """A server with short limits."""
    limits = Limits(body=100_000, seconds=0.5, pixels=1_000_000)
    with serve({"digits": model, "again": model}, port=0, limits=limits) as running:
        yield running


def _ask(pad, x, client=httpx):
    reply = client.post(f"{pad.url}predict", content=json.dumps(x.tolist()), headers=JSON)
    assert reply.status_code == 200, reply.text
    return reply.json()


def _raw(pad, *parts, pause=0.0, timeout=5.0):
    """Send bytes as they are; return what comes back until the connection ends."""
    come = b""
    with socket.create_connection(("127.0.0.1", pad.port), timeout=timeout) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            while part := connection.recv(65536):
                come += part
        except (ConnectionError, TimeoutError):
            pass
    return come


def _head(pad, *lines, path="/predict", method="POST"):
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{pad.port}", *lines, "", ""]).encode()


def _bomb(side):
    """A PNG that announces side x side pixels, and holds none."""

    def chunk(name, content):
        return (
            len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")
        )

    head = side.to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    empty = zlib.compress(bytes(10_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", empty) + chunk(b"IEND", b"")


def _png(x):
    file = io.BytesIO()
    Image.fromarray(np.rint(255 * x).astype(np.uint8)).save(file, "png")
    return file.getvalue()


def test_it_answers_as_the_model(pad, model, pictures):
    found = [p["probabilities"] for p in _ask(pad, pictures)["predictions"]]
    assert np.abs(np.array(found) - model.predict_proba(pictures)).max() < 1e-6
    assert httpx.get(f"{pad.url}model").json()["models"] == ["digits", "again"]


def test_eight_at_once_get_their_own_answers(pad, model, pictures):
    expected = model.predict_proba(pictures)

    def one(offset):
        with httpx.Client() as client:
            for i in range(offset, offset + 25):
                (answer,) = _ask(pad, pictures[i % 100], client)["predictions"]
                assert np.abs(np.array(answer["probabilities"]) - expected[i % 100]).max() < 1e-6
                if i % 5 == 0:
                    body = json.dumps(pictures[i % 100].tolist())
                    layers = client.post(f"{pad.url}layers", content=body, headers=JSON).json()
                    assert layers["prediction"]["label"] == answer["label"]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(one, 13 * k) for k in range(8)]:
            done.result()


def _hostile(pad, x):
    """Requests that must not be answered, as bytes, and the statuses that are right."""
    good = json.dumps(x.tolist()).encode()
    typed = "Content-Type: application/json"
    length = f"Content-Length: {len(good)}"

    def sent(body, kind="application/json", *more, path="/predict"):
        return _head(pad, f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more, path=path) + body

    png = _png(x[0])
    form = "multipart/form-data; boundary=b"
    return {
        "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9 + b"\r\n\r\n", {400}),
        "no JSON": (sent(b"{"), {400}),
        "a deep JSON": (sent(b"[" * 50_000), {400, 413}),
        "ragged": (sent(b"[[1,2],[3]]"), {400}),
        "words": (sent(b'[["a"]]'), {400}),
        "NaN": (sent(b"[[NaN]]"), {400}),
        "a huge number": (sent(b"[[1" + b"0" * 5000 + b"]]"), {400}),
        "another size": (sent(b"[[1,2],[3,4]]"), {400}),
        "nothing": (sent(b""), {400}),
        "no length": (_head(pad, typed), {400}),
        "no type": (_head(pad, length) + good, {415}),
        "another type": (sent(good, "text/html"), {415}),
        "no image": (sent(b"GIF89a nonsense", "image/png"), {400}),
        "half an image": (sent(png[: len(png) // 2], "image/png"), {400}),
        "a bomb": (sent(_bomb(60_000), "image/png"), {400, 413}),
        "a bomb within the sides": (sent(_bomb(3_000), "image/png"), {400, 413}),
        "a form without end": (sent(b"--b\r\nContent-Disposition: form-data; name=f\r\n\r\nx", form), {400}),
        "a form with headers for ever": (sent(b"--b\r\nX: " + b"y" * 60_000, form), {400}),
        "no form": (sent(good, "multipart/form-data"), {400}),
        "too much announced": (_head(pad, typed, "Content-Length: 999999999999"), {413}),
        "too much sent": (_head(pad, typed, "Transfer-Encoding: chunked") + b"10000\r\n" + b"1" * 65536
                          + b"\r\n10000\r\n" + b"1" * 65536 + b"\r\n0\r\n\r\n", {413}),
        "two lengths": (_head(pad, typed, length, "Content-Length: 5") + good, {400}),
        "length and chunks": (_head(pad, typed, length, "Transfer-Encoding: chunked") + good, {400}),
        "a wrong chunk": (_head(pad, typed, "Transfer-Encoding: chunked") + b"zz\r\n", {400}),
        "a slow body": (_head(pad, typed, length) + good[:10], {408}),
        "another host": (_head(pad, length, typed).replace(b"127.0.0.1", b"evil.test") + good, {403}),
        "no host": (b"GET / HTTP/1.0\r\n\r\n", {400}),
        "another origin": (sent(good, "application/json", "Origin: http://evil.test"), {403}),
        "a path upwards": (_head(pad, path="/page/../../../etc/passwd", method="GET"), {404}),
        "a path upwards, hidden": (_head(pad, path="/page/%2e%2e%2f%2e%2e%2fapp.py", method="GET"), {404}),
        "a path with zero": (_head(pad, path="/page/a%00b", method="GET"), {404}),
        "a label upwards": (sent(good, path="/examples?label=..%2f..%2fetc"), {400}),
        "another method": (_head(pad, method="DELETE"), {405}),
        "an upgrade": (_head(pad, "Upgrade: websocket", "Connection: Upgrade, close", path="/model?x=1",
                             method="GET"), {400}),
        "a head for ever": (_head(pad, "X: " + "y" * 400_000, method="GET"), {431, None}),
    }  # fmt: skip


def _status(answer):
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else None


def test_a_hundred_hostile_requests_at_once_disturb_nobody(pad, model, pictures, capfd):
    hostile = _hostile(pad, pictures[0])
    expected = model.predict_proba(pictures)
    names = [*hostile] * 3
    assert len(names) > 100
    stop = threading.Event()

    def attack(name):
        raw, right = hostile[name]
        if b"Connection:" not in raw:
            raw = raw.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        status = _status(_raw(pad, raw))
        return None if status in right else f"{name}: {status}, not in {right}"

    def work(offset):
        answered = 0
        with httpx.Client() as client:
            while not stop.is_set() or not answered:
                i = (offset + answered) % 100
                (answer,) = _ask(pad, pictures[i], client)["predictions"]
                assert np.abs(np.array(answer["probabilities"]) - expected[i]).max() < 1e-6
                answered += 1
        return answered

    with concurrent.futures.ThreadPoolExecutor(len(names) + 4) as pool:
        good = [pool.submit(work, 25 * k) for k in range(4)]
        wrong = [message for message in pool.map(attack, names) if message]
        stop.set()
        assert all(done.result() for done in good)
    assert wrong == []
    assert capfd.readouterr().err == ""  # nothing that nobody expected
    _ask(pad, pictures)


def test_every_refusal_names_what_was_needed(pad, pictures):
    for name, (raw, _) in _hostile(pad, pictures[0]).items():
        answer = _raw(pad, raw.replace(b"\r\n", b"\r\nConnection: close\r\n", 1), timeout=3)
        _, _, body = answer.partition(b"\r\n\r\n")
        if body or name != "a head for ever":  # of that, a reset may overtake the answer
            error = json.loads(body)["error"]
            assert error["where"], name
            assert error["what"], name


def test_a_body_that_stops_is_refused_in_time_and_the_connection_closed(pad):
    head = _head(pad, "Content-Type: application/json", "Content-Length: 1000")
    start = time.monotonic()
    answer = _raw(pad, head, b"[", b"[", b"1", pause=0.1)
    assert _status(answer) == 408
    assert 0.5 <= time.monotonic() - start < 3


def test_a_head_that_stops_is_given_up(pad, monkeypatch):
    monkeypatch.setattr("xcnn.draw.protocol._SECONDS", 0.2)
    assert _status(_raw(pad, b"GET / HTTP/1.1\r\nHost: ", timeout=3)) == 408
    assert _raw(pad, timeout=3) == b""


def test_a_head_without_end_is_given_up(pad):
    lines = [b"X-%d: %s\r\n" % (i, b"y" * 1000) for i in range(1000)]
    assert _status(_raw(pad, b"GET / HTTP/1.1\r\n", *lines)) in (431, None)  # or a reset has overtaken it
    assert _status(_raw(pad, b"GET / HTTP/1.1\r\n", *lines[:66], pause=0.001)) == 431


def test_what_follows_a_body_has_an_end(pad):
    for method, path in (("GET", "/model"), ("POST", "/predict")):
        head = _head(pad, "Transfer-Encoding: chunked", path=path, method=method)
        answer = _raw(pad, head + b"0\r\n", *[b"X: y\r\n" * 2000] * 200, timeout=3)
        assert _status(answer) in (431, None)  # or a reset has overtaken it
    _ask(pad, np.zeros((8, 8)))


def test_requests_before_the_answer_are_not_read(pad):
    ask = _head(pad, path="/model", method="GET")
    for more in (ask, ask * 5000, b"no HTTP\r\n\r\n", b"\x00" * 200_000):
        answer = _raw(pad, ask + more, timeout=3)
        if answer:  # a reset may overtake it
            assert _status(answer) == 200
            assert answer.count(b"HTTP/1.1 ") == 1
    assert _raw(pad, ask + ask, timeout=3)


def test_an_empty_line_does_not_keep_a_connection_open(pad, monkeypatch):
    monkeypatch.setattr("xcnn.draw.protocol._SECONDS", 0.2)
    start = time.monotonic()
    answer = _raw(pad, _head(pad, path="/model", method="GET"), b"\r\n", pause=0.05)
    assert _status(answer) == 200
    assert time.monotonic() - start < 3


def test_an_answer_that_nobody_takes_is_dropped(pad, monkeypatch):
    monkeypatch.setattr("xcnn.draw.protocol._UNREAD", 0.2)
    ask = _head(pad, path="/page/main.js", method="GET")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", pad.port))
        connection.settimeout(5)

        def ask_on():
            for _ in range(100_000):
                connection.sendall(ask)
                time.sleep(0.001)

        with pytest.raises(ConnectionError):
            ask_on()


def test_too_many_connections_are_closed(pad, monkeypatch):
    monkeypatch.setattr("xcnn.draw.protocol._CONNECTIONS", 5)
    opened = [socket.create_connection(("127.0.0.1", pad.port)) for _ in range(5)]
    ask = _head(pad, "Connection: close", path="/model", method="GET")
    assert _raw(pad, ask) == b""
    for connection in opened:
        connection.close()
    deadline = time.monotonic() + 5
    while _status(_raw(pad, ask)) != 200:  # until the server has seen that they are gone
        assert time.monotonic() < deadline


def test_it_goes_on_after_a_body_that_was_too_large(pad, pictures):
    with httpx.Client() as client:
        for _ in range(3):
            reply = client.post(f"{pad.url}predict", content=b"x" * 200_000, headers=JSON)
            assert reply.status_code == 413
            _ask(pad, pictures[:1], client)


def test_it_ends_at_once_though_connections_are_open(model, pictures):
    before = threading.active_count()
    running = serve(model, port=0)
    half = _head(running, "Content-Length: 100")
    opened = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(3)]
    opened[1].sendall(half)
    with httpx.Client() as client:
        _ask(running, pictures[:1], client)
        start = time.monotonic()
        running.close()
        assert time.monotonic() - start < 1
    for connection in opened:
        connection.close()
    assert threading.active_count() == before
    with pytest.raises(httpx.TransportError):
        httpx.get(running.url)


def test_it_ends_at_once_and_in_silence_though_it_has_much_to_do(model, pictures, monkeypatch, capfd):
    began = threading.Event()

    def slow(*_):
        began.set()
        time.sleep(0.3)
        return {}

    monkeypatch.setattr("xcnn.draw.answers.why", slow)
    running = serve(model, port=0)
    body = json.dumps(pictures[0].tolist()).encode()
    ask = _head(running, "Content-Type: application/json", f"Content-Length: {len(body)}", path="/why") + body
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(_raw, running, ask) for _ in range(10)]
        asked += [pool.submit(_raw, running, ask[:-10]) for _ in range(10)]
        assert began.wait(5)
        time.sleep(0.05)
        start = time.monotonic()
        running.close()
        assert time.monotonic() - start < 2
        assert not any(future.result() for future in asked)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("wrong", ["model.xcnn", None, ["model.xcnn"], {"a": 3}])
def test_what_is_no_model_is_refused(wrong):
    with pytest.raises(
        OptionError, match=r"serve: got \w+; needed a Model \(xcnn.load reads one from a file\)"
    ):
        serve(wrong, port=0)


def test_a_taken_port_is_told_and_the_next_one_taken(pad, monkeypatch):
    with pytest.raises(OptionError, match=rf"port {pad.port}: Address already in use; needed a free one"):
        listen("127.0.0.1", pad.port)
    monkeypatch.setattr("xcnn.draw.server.PORT", pad.port)
    address = listen("127.0.0.1")
    with address.socket:
        assert pad.port < address.port < pad.port + 20


def test_others_need_a_token(model, pictures):
    with serve(model, host="0.0.0.0", port=0) as running:
        assert running.url.endswith(f"/?token={running.token}")
        assert len(running.token) > 20
        here = f"http://127.0.0.1:{running.port}"
        assert httpx.get(f"{here}/model").status_code == 401
        headers = JSON | {"authorization": f"Bearer {running.token}"}
        assert httpx.post(
            f"{here}/predict", content=json.dumps(pictures.tolist()), headers=headers
        ).is_success
        with httpx.Client(follow_redirects=True) as browser:
            assert "<html" in browser.get(f"{here}/?token={running.token}").text
            assert browser.get(f"{here}/model").is_success


def test_this_machine_needs_none_unless_it_is_asked_for(model):
    with serve(model, port=0) as running:
        assert running.token is None
        assert running.url == f"http://127.0.0.1:{running.port}/"
    with serve(model, port=0, token="my-own-token") as running:
        assert httpx.get(f"http://127.0.0.1:{running.port}/").status_code == 401
        assert httpx.get(running.url).status_code == 303


@pytest.mark.parametrize("token", ["short", "with a space in it", "semi;colon;semi", "ümlaut-token"])
def test_a_token_is_no_riddle(token):
    with pytest.raises(OptionError, match="needed 8 to 200 letters"):
        listen("127.0.0.1", 0, token=token)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.7", "a" * 300])
def test_a_host_that_is_not_this_machine_is_refused(host):
    with pytest.raises(OptionError, match=r"host|listen"):
        listen(host, 0)

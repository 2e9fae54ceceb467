"""Who may ask, and how much: everything else is refused before a model hears of it."""

from __future__ import annotations

import asyncio
import json
import sys

import numpy as np
import pytest

pytest.importorskip("starlette")

from starlette.responses import PlainTextResponse

from xcnn.draw.app import application
from xcnn.draw.guard import Guard
from xcnn.draw.intake import Intake
from xcnn.draw.limits import Limits
from xcnn.draw.numbers import plain, to_json
from xcnn.draw.served import Served

TOKEN = "a-long-token"
EMPTY = json.dumps(np.zeros((8, 8)).tolist())
JSON = {"content-type": "application/json"}


@pytest.fixture
def guarded(client_of, model):
    """A client of an application with other options."""
    return lambda **options: client_of(
        application([Served("digits", model)], **options), follow_redirects=False
    )


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]", "[::1]:80"]
)
def test_this_machine_may_ask(client, host):
    assert client.get("/model", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.",
        "127.0.0.1:80:80",
        "",
        ":8080",
        "[::1",
        "::1",
        "0",
    ],
)
def test_another_name_of_this_machine_is_refused(client, host):
    reply = client.get("/model", headers={"host": host})
    assert (reply.status_code, reply.json()["error"]["where"]) == (403, "Host")


def test_a_port_may_be_part_of_the_name(guarded):
    client = guarded(hosts=["127.0.0.1:8080"])
    assert client.get("/", headers={"host": "127.0.0.1:8080"}).status_code == 200
    assert client.get("/", headers={"host": "127.0.0.1:8081"}).status_code == 403
    assert client.get("/", headers={"host": "127.0.0.1"}).status_code == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "https://127.0.0.1:8080",
        "http://127.0.0.1:8081",
        "http://127.0.0.1",
        "",
    ],
)
def test_pages_of_others_may_send_nothing(client, origin):
    reply = client.post("/predict", content=EMPTY, headers=JSON | {"origin": origin})
    assert (reply.status_code, reply.json()["error"]["where"]) == (403, "Origin")


def test_the_page_itself_may_send(client):
    for headers in ({"origin": "http://127.0.0.1:8080"}, {}):
        assert client.post("/predict", content=EMPTY, headers=JSON | headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong-token"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": "Bearer \xe4".encode("latin-1")},
        {"cookie": "xcnn_draw_8080=wrong"},
        {"cookie": "\x01=;;;=,"},
    ],
)
def test_without_the_token_nothing_is_told(guarded, headers):
    client = guarded(token=TOKEN)
    for path in ("/", "/help", "/page/style.css", "/model", "/nothing", "/?token=wrong"):
        reply = client.get(path, headers=headers)
        assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert client.post("/predict", content=EMPTY, headers=JSON | headers).status_code == 401


def test_the_token_is_shown_by_programs(guarded):
    client = guarded(token=TOKEN, hosts=None)
    headers = {"authorization": f"bearer {TOKEN}", "host": "anything.example"}
    assert client.get("/model", headers=headers).status_code == 200
    assert client.post("/predict", content=EMPTY, headers=JSON | headers).status_code == 200


def test_the_address_with_the_token_gives_a_cookie_and_is_left(guarded):
    client = guarded(token=TOKEN)
    reply = client.get(f"/?token={TOKEN}")
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/").status_code == 200  # the client keeps cookies
    client.cookies.clear()
    assert client.get("/").status_code == 401


@pytest.mark.parametrize("other", ['a=[{"x": 1}]', "a,b=c", "=", 'x="\\\\"; y', "q=" + '"\\\\' * 3000])
def test_others_cookies_are_no_obstacle(guarded, other):
    client = guarded(token=TOKEN)
    for cookie in (f"{other}; xcnn_draw_8080={TOKEN}", f"xcnn_draw_8080={TOKEN};{other}"):
        assert client.get("/model", headers={"cookie": cookie}).status_code == 200


def test_the_token_counts_nowhere_else(guarded):
    client = guarded(token=TOKEN)
    assert client.get(f"/model?token={TOKEN}").status_code == 401
    assert client.get(f"/?token={TOKEN}&token={TOKEN}").status_code == 401


def test_every_answer_has_headers_of_safety(client):
    for path in ("/", "/model", "/nothing", "/page/style.css", "/model?x=1"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == ("no-cache" if path in ("/", "/page/style.css") else "no-store")
        assert "access-control-allow-origin" not in headers
    assert (
        client.get("/model", headers={"host": "evil.example"}).headers["x-content-type-options"] == "nosniff"
    )


def test_a_body_that_is_announced_too_large_is_refused(guarded):
    client = guarded(limits=Limits(body=1000))
    reply = client.post("/predict", content=b"x" * 1001, headers=JSON)
    assert (reply.status_code, reply.json()["error"]["where"]) == (413, "body")
    assert client.post("/predict", content=b"x" * 1000, headers=JSON).status_code == 400


def test_a_body_that_grows_too_large_is_refused(guarded, monkeypatch):
    monkeypatch.setattr("xcnn.draw.refusals._LINGER", 0.05)
    client = guarded(limits=Limits(body=1000))
    assert client.post("/predict", content=iter([b"x" * 600] * 2), headers=JSON).status_code == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 5000, "٣".encode()])
def test_a_length_that_is_none_is_refused(client, length):
    reply = client.post("/predict", content=b"{}", headers=JSON | {"content-length": length})
    assert reply.status_code in (400, 413)


def _scope(method="POST", **more):
    headers = [(b"host", b"localhost"), (b"transfer-encoding", b"chunked")]
    return {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": headers, **more}


async def _ask(app, receive, scope=None):
    """Return status and error of one request."""
    sent = []

    async def send(message):
        sent.append(message)

    await app(scope or _scope(), receive, send)
    if not sent:
        return None
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], body, dict(sent[0]["headers"])


def _of(*messages, forever=False):
    """Return a receive that gives `messages`, then waits."""
    waiting = list(messages)

    async def receive():
        if waiting:
            return waiting.pop(0)
        if forever:
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    return receive


def _part(body, more):
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_slow_body_is_refused_in_time():
    app = Intake(PlainTextResponse("late"), limits=Limits(seconds=0.05))
    status, body, headers = asyncio.run(_ask(app, _of(_part(b"ab", True), _part(b"c", True), forever=True)))
    assert status == 408
    assert b"3 bytes came in 0.05 s" in body
    assert headers[b"connection"] == b"close"
    assert app.held == app.working == 0


def test_who_goes_away_is_forgotten():
    app = Intake(PlainTextResponse("?"), limits=Limits())
    assert asyncio.run(_ask(app, _of(_part(b"ab", True)))) is None
    assert app.held == app.working == 0


def test_all_bodies_together_have_a_limit():
    app = Intake(PlainTextResponse("?"), limits=Limits(bodies=100))

    async def ask():
        slow = asyncio.create_task(_ask(app, _of(_part(b"x" * 80, True), forever=True)))
        await asyncio.sleep(0.01)
        found = await _ask(app, _of(_part(b"x" * 30, False)))
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        return found, await _ask(app, _of(_part(b"x" * 30, False)))

    (status, _, headers), after = asyncio.run(ask())
    assert (status, headers[b"retry-after"]) == (503, b"1")
    assert after[0] == 200
    assert app.held == 0


def test_who_is_refused_takes_no_room():
    app = Intake(PlainTextResponse("?"), limits=Limits(body=50, bodies=100))

    async def ask():
        sending = asyncio.create_task(_ask(app, _of(_part(b"x" * 80, True), forever=True)))
        await asyncio.sleep(0.01)
        held = app.held
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        return held

    assert asyncio.run(ask()) == 0


def test_more_requests_than_the_limit_are_put_off():
    release = asyncio.Event()

    async def work(scope, receive, send):
        await release.wait()
        await PlainTextResponse("done")(scope, receive, send)

    app = Intake(work, limits=Limits(requests=3))

    async def ask():
        working = [asyncio.create_task(_ask(app, _of(_part(b"x", False)))) for _ in range(3)]
        await asyncio.sleep(0.01)
        found = await _ask(app, _of(_part(b"x", False)))
        release.set()
        return found, [(await task)[0] for task in working], await _ask(app, _of(_part(b"x", False)))

    (status, _, headers), others, after = asyncio.run(ask())
    assert (status, headers[b"retry-after"]) == (503, b"1")
    assert others == [200, 200, 200]
    assert after[0] == 200


def test_bodies_of_requests_that_need_none_have_limits_too(guarded):
    client = guarded(limits=Limits(body=1000))
    assert client.request("GET", "/model", content=b"x" * 1001).status_code == 413
    assert client.request("GET", "/model", content=b"x" * 1000).status_code == 200


def test_a_body_is_kept_once():
    kept = []

    async def work(scope, receive, send):
        message = await receive()
        kept.append(sys.getrefcount(message["body"]))
        await PlainTextResponse("done")(scope, receive, send)

    app = Intake(work, limits=Limits())
    asyncio.run(_ask(app, _of(_part(b"ab" * 500, True), _part(b"cd" * 500, False))))
    assert kept == [2]  # the message's, and the argument's


def test_slow_readers_keep_nobody_from_working():
    app = Intake(PlainTextResponse("done"), limits=Limits(requests=1))

    async def ask():
        async def never(message):
            await asyncio.sleep(60)

        slow = [asyncio.create_task(app(_scope(), _of(_part(b"x", False)), never)) for _ in range(5)]
        await asyncio.sleep(0.01)
        found = await _ask(app, _of(_part(b"x", False)))
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return found

    assert asyncio.run(ask())[0] == 200
    assert app.working == 0


def test_slow_bodies_keep_nobody_from_working():
    app = Intake(PlainTextResponse("done"), limits=Limits(requests=1))

    async def ask():
        slow = [asyncio.create_task(_ask(app, _of(_part(b"x", True), forever=True))) for _ in range(50)]
        await asyncio.sleep(0.01)
        found = await _ask(app, _of(_part(b"x", False)))
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return found

    assert asyncio.run(ask())[0] == 200


def test_two_hosts_are_refused():
    app = Guard(PlainTextResponse("?"))
    scope = _scope("GET", scheme="http", headers=[(b"host", b"localhost"), (b"host", b"localhost")])
    assert asyncio.run(_ask(app, _of(), scope))[0] == 400
    scope["headers"] = []
    assert asyncio.run(_ask(app, _of(), scope))[0] == 400


def test_web_sockets_are_refused():
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(PlainTextResponse("?"))({"type": "websocket"}, _of(), send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_numbers_are_plain():
    a = np.array([[1 / 3, np.nan], [-np.inf, 2e-9 / 3]], np.float32)
    told = plain(
        {"a": a, "b": (np.float32(0.1), np.int64(3), True, None, float("inf")), "c": np.array([1, 2])}
    )
    assert told == {
        "a": [[0.333333, None], [None, 6.66667e-10]],
        "b": [0.1, 3, True, None, None],
        "c": [1, 2],
    }
    assert json.loads(to_json(told)) == told
    assert to_json("\ud800") == b'"?"'

"""What is asked over HTTP is answered as the model itself answers it."""

from __future__ import annotations

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np
import pytest

from xcnn.calibration import calibrate

pytest.importorskip("starlette")

from PIL import Image

from xcnn.draw.app import application
from xcnn.draw.limits import Limits
from xcnn.draw.pictures import read_pictures
from xcnn.draw.served import Served, named_apart
from xcnn.errors import OptionError, ShapeError
from xcnn.io.data_spec import DataSpec
from xcnn.layers import Conv2D, Dense, Flatten
from xcnn.model import Model

JSON = {"content-type": "application/json"}


def _post(client, path, x, **headers):
    return client.post(path, content=json.dumps(np.asarray(x).tolist()), headers=JSON | headers)


def test_predictions_are_those_of_the_model(client, model, pictures):
    reply = _post(client, "/predict", pictures).json()
    expected = model.predict_proba(pictures)
    found = np.array([p["probabilities"] for p in reply["predictions"]])
    assert np.abs(found - expected).max() < 1e-6  # six digits are told
    assert [p["label"] for p in reply["predictions"]] == model.predict_classes(pictures).tolist()
    assert all(p["class"] == str(p["label"]) for p in reply["predictions"])
    assert all(p["probability"] == max(p["probabilities"]) for p in reply["predictions"])
    assert (reply["model"], reply["classes"]) == ("digits", list("0123456789"))


def test_one_picture_is_answered_as_among_others(client, pictures):
    (alone,) = _post(client, "/predict", pictures[3]).json()["predictions"]
    among = _post(client, "/predict", pictures).json()["predictions"][3]
    assert alone["label"] == among["label"]
    assert alone["probabilities"] == pytest.approx(among["probabilities"], abs=1e-6)


def test_the_picture_that_the_model_sees_is_told_where_it_is_asked_for(client, pictures):
    reply = _post(client, "/predict?inputs=true", pictures[:2]).json()
    assert np.abs(np.array(reply["inputs"]) - pictures[:2]).max() < 1e-6
    assert "inputs" not in _post(client, "/predict?inputs=false", pictures[:2]).json()


def test_a_model_is_described(client, model):
    told = client.get("/model").json()
    assert told["name"] == "digits"
    assert told["models"] == ["digits"]
    assert told["input_shape"] == [1, 8, 8]
    assert told["output_shape"] == [10]
    assert told["parameters"] == model.state.size
    assert (told["dtype"], told["precision"], told["backend"]) == ("float32", "float32", "numpy")
    assert told["data"] is None
    assert told["examples"] is True
    assert told["layers"] == client.get("/layers").json()["layers"]
    assert [layer["title"] for layer in told["layers"]] == ["Conv2D + ReLU", "MaxPool2D", "Flatten", "Dense"]


def test_a_layer_is_described(client, model):
    told = client.get("/layers/0").json()
    assert np.array(told["kernels"]["values"]) == pytest.approx(
        model.layers[0].parameters()["w"].value, rel=1e-5
    )
    assert (told["dead"], told["sample"]) == (None, 0)  # its data are unknown


def test_dead_channels_are_told_of_a_model_whose_data_are_here(client_of, model):
    client = client_of(application([Served("digits", model, DataSpec(name="digits"))]))
    told = client.get("/layers/0").json()
    assert told["sample"] > 500
    assert len(told["active"]) == 8
    assert client.get("/model").json()["data"] == "digits"


def test_data_that_are_not_here_are_not_downloaded(client_of, model, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("XCNN_DATA", raising=False)
    served = Served("m", model, DataSpec(name="mnist"))
    assert served.sample is None


def test_every_layer_is_shown(client, model, pictures):
    told = _post(client, "/layers", pictures[0]).json()
    assert np.array(told["input"]["values"]) == pytest.approx(pictures[0], abs=1e-6)
    assert told["prediction"] == _post(client, "/predict", pictures[0]).json()["predictions"][0]
    assert [layer["id"] for layer in told["layers"]] == [0, 1, 2, 3]


def test_one_element_is_explained(client, model, pictures):
    told = _post(client, "/layers/0?at=2,3,4", pictures[0]).json()
    found = model.explain(pictures[0]).layers[0].at(2, 3, 4)
    assert told["value"] == pytest.approx(found.value, rel=1e-5)
    assert told["position"] == [2, 3, 4]
    assert _post(client, "/layers/0", pictures[0]).json()["kind"] == "convolution"


def test_the_reason_is_told(client, model, pictures):
    told = _post(client, "/why", pictures[0]).json()
    assert told["class"] == str(model.predict_classes(pictures[:1])[0])
    assert np.shape(told["gradient"]["values"]) == (8, 8)


def test_the_model_is_chosen_by_name(client_of, model, digits, pictures):
    other = calibrate(model, digits.test.x, digits.test.y)
    client = client_of(application([Served("a", model), Served("b", other)]))
    assert _post(client, "/predict", pictures[0]).json()["model"] == "a"
    reply = _post(client, "/predict?model=b", pictures[0]).json()
    assert reply["model"] == "b"
    expected = other.predict_proba(pictures[:1])[0]
    assert reply["predictions"][0]["probabilities"] == pytest.approx(expected, abs=1e-6)
    assert client.get("/model?model=b").json()["name"] == "b"


def test_a_single_output_is_two_classes(client_of, pictures):
    layers = [Conv2D(2, 3, activation="relu"), Flatten(), Dense(1, activation="sigmoid")]
    binary = Model(layers, input_shape=(1, 8, 8), seed=3, backend="numpy")
    client = client_of(application([Served("binary", binary)]))
    reply = _post(client, "/predict", pictures).json()
    p = binary.predict_proba(pictures)[:, 0]
    assert reply["classes"] == ["0", "1"]
    found = np.array([answer["probabilities"] for answer in reply["predictions"]])
    assert np.abs(found - np.stack([1 - p, p], axis=1)).max() < 1e-6
    assert [a["label"] for a in reply["predictions"]] == binary.predict_classes(pictures).tolist()
    for path in ("/layers", "/layers/2", "/why"):
        assert _post(client, path, pictures[0]).status_code == 200


def test_equal_names_get_numbers(model):
    names = [served.name for served in named_apart([Served(n, model) for n in ("a", "a", "b", "a", "a 2")])]
    assert names == ["a", "a 2", "b", "a 3", "a 2 2"]


def test_a_drawing_is_saved_once_and_as_the_model_sees_it(client, pictures, tmp_path):
    told = _post(client, "/examples?label=7", pictures[0])
    assert told.status_code == 201
    again = _post(client, "/examples?label=7", pictures[0]).json()
    assert told.json() == again
    assert again["counts"] == {"7": 1}
    (file,) = (tmp_path / "drawings").rglob("*.png")
    assert file == tmp_path / "drawings" / again["saved"]
    seen = client.post(
        "/predict?inputs=true", content=file.read_bytes(), headers={"content-type": "image/png"}
    )
    assert np.abs(np.array(seen.json()["inputs"])[0] - pictures[0]).max() <= 0.5 / 255 + 1e-6


def test_nothing_is_saved_without_a_folder(client_of, model, pictures):
    client = client_of(application([Served("digits", model)]))
    assert _post(client, "/examples?label=7", pictures[0]).status_code == 403
    assert client.get("/model").json()["examples"] is False


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/predict?modl=digits", 400, "did you mean 'model'"),
        ("/predict?at=1", 400, "unknown parameter 'at'"),
        ("/predict?model=a&model=a", 400, "twice"),
        ("/predict?model=digit", 404, "did you mean 'digits'"),
        ("/predict?centre=yes", 400, "'yes'"),
        ("/predict?inputs=1", 400, "true or false"),
        ("/predict?" + "&".join(["model=digits"] * 20), 400, "parameters"),
        ("/layers/0?at=1,2,x", 400, "whole numbers"),
        ("/layers/0?at=1,2,99", 400, ""),
        ("/layers/0?at=" + "9" * 5000, 400, "whole numbers"),
        ("/layers/4", 404, "0 to 3"),
        ("/layers/-1", 404, "0 to 3"),
        ("/layers/" + "9" * 5000, 404, "0 to 3"),
        ("/layers/%D9%A3", 404, "0 to 3"),
        ("/examples", 400, "is missing"),
        ("/examples?label=10", 400, "0 to 9"),
        ("/examples?label=../../7", 400, "number of a class"),
        ("/predict/", 404, "nothing here"),
        ("/page/../app.py", 404, "nothing here"),
        ("/page/..%2fapp.py", 404, "nothing here"),
    ],
)
def test_what_is_wrong_is_told(client, pictures, path, status, words):
    reply = _post(client, path, pictures[0])
    assert reply.status_code == status
    assert words in reply.json()["error"]["what"]
    assert reply.json().keys() == {"error"}
    assert reply.json()["error"].keys() == {"where", "what"}


def test_a_request_for_one_picture_takes_no_two(client, pictures):
    assert _post(client, "/layers", pictures[:2]).json()["error"]["what"] == "got 2 pictures; needed one"


def test_what_overflows_is_refused(client, pictures):
    x = np.full((1, 8, 8), 3e38)
    x[0, 0, 0] = 0.5  # a fraction: no bytes
    reply = _post(client, "/predict", x)
    assert reply.status_code == 400
    assert "not finite" in reply.json()["error"]["what"]


@pytest.mark.parametrize("name", ["%2e%2e", "app.py", "index.html%00", "%2e%2e%2fapp.py", "%2e"])
def test_no_other_file_is_served(client, name):
    assert client.get(f"/page/{name}").status_code == 404


def test_the_page_and_its_files_are_served(client):
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert client.get("/page/style.css").headers["content-type"] == "text/css; charset=utf-8"
    assert client.get("/page/pad.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    same = client.get("/", headers={"if-none-match": page.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


def test_the_interface_is_described(client):
    text = client.get("/help").text
    for name in ("/predict", "/model", "/layers", "/why", "/examples", "centre", "invert", "curl"):
        assert name in text


@pytest.mark.parametrize(
    ("path", "allow"),
    [("/", "GET, HEAD, OPTIONS"), ("/predict", "OPTIONS, POST"), ("/layers/0", "GET, HEAD, OPTIONS, POST")],
)
def test_methods_are_known(client, path, allow):
    reply = client.request("OPTIONS", path)
    assert (reply.status_code, reply.headers["allow"]) == (204, allow)
    reply = client.request("DELETE", path)
    assert (reply.status_code, reply.headers["allow"]) == (405, allow)
    assert "error" in reply.json()
    if "HEAD" in allow:
        assert client.head(path).status_code == 200


def test_an_unexpected_failure_is_kept_secret_and_printed(client_of, model, pictures, monkeypatch, capsys):
    served = Served("digits", model)
    client = client_of(application([served]))
    with monkeypatch.context() as patch:
        patch.setattr(type(model), "predict_proba", lambda model, x: 1 / 0)
        reply = _post(client, "/predict", pictures[0])
    assert reply.status_code == 500
    assert "division" not in reply.text
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert _post(client, "/predict", pictures[0]).status_code == 200


def test_predictions_are_made_whatever_else_there_is_too_much_of(client_of, model, pictures, monkeypatch):
    began, go_on = threading.Semaphore(0), threading.Event()

    def slow(*_):
        began.release()
        assert go_on.wait(10)
        return {}

    def bomb(body, *rest):
        return slow() if body == b"bomb" * 100_000 else read_pictures(body, *rest)

    monkeypatch.setattr("xcnn.draw.answers.why", slow)
    monkeypatch.setattr("xcnn.draw.answers.read_pictures", bomb)
    client = client_of(application([Served("digits", model)], limits=Limits(requests=16)))
    png = {"content-type": "image/png"}
    small = io.BytesIO()
    Image.fromarray(np.rint(255 * pictures[0, 0]).astype(np.uint8)).save(small, "png")
    with ThreadPoolExecutor(16) as pool:
        try:
            asked = [pool.submit(_post, client, "/why", pictures[0]) for _ in range(6)]
            bombs = [
                pool.submit(client.post, "/predict", content=b"bomb" * 100_000, headers=png) for _ in range(6)
            ]
            assert began.acquire(timeout=10)
            assert began.acquire(timeout=10)
            refused = [next(as_completed(futures, 10)).result() for futures in (asked, bombs)]
            assert [(reply.status_code, reply.headers["retry-after"]) for reply in refused] == [
                (503, "1")
            ] * 2
            for _ in range(10):
                assert _post(client, "/predict", pictures).status_code == 200
                assert client.post("/predict", content=small.getvalue(), headers=png).status_code == 200
        finally:
            go_on.set()
    assert sorted(future.result().status_code for future in asked) == [200] * 4 + [503] * 2


def test_a_small_file_of_a_large_image_is_read_with_the_large_ones(client, monkeypatch):
    file = io.BytesIO()
    Image.new("L", (2000, 1500), 255).save(file, "png")
    reply = client.post("/predict", content=file.getvalue(), headers={"content-type": "image/png"})
    assert reply.status_code == 200
    monkeypatch.setattr("xcnn.draw.answers._LIGHT", 0)
    again = client.post("/predict", content=file.getvalue(), headers={"content-type": "image/png"})
    assert again.json() == reply.json()


def test_what_cannot_be_served_is_refused():
    with pytest.raises(ShapeError, match="needed pictures"):
        Served("m", Model([Conv2D(2, 3)], input_shape=(1, 8, 8), backend="numpy"))
    with pytest.raises(OptionError, match="no models"):
        application([])

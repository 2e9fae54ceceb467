"""Why: the gradient and the occlusion of the answer, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.draw.nets import picture, residual, sent
from tests.nets import plain, stripes
from xcnn.draw.why import why
from xcnn.explain import occlusion
from xcnn.layers import Conv2D, Dense, Flatten, ReLU


def told_of(model, x):
    return sent(why(model, x, model.explain(x)))


def test_the_gradient_is_that_of_the_winners_logit(backend):
    model = xcnn.Model([Conv2D(3, 3, activation="tanh"), Flatten(), Dense(4)], (2, 6, 6), backend=backend)
    model = model.to(dtype="float64")
    x = picture((2, 6, 6)).astype("float64")
    told = told_of(model, x)
    z = np.asarray(model.predict(x[None]))[0]
    best, step = int(z.argmax()), 1e-5
    for i, j in ((0, 0), (2, 3), (5, 1)):
        slope, product = 0.0, 0.0
        for c in range(2):
            up, down = x.copy(), x.copy()
            up[c, i, j] += step
            down[c, i, j] -= step
            y = np.asarray(model.predict(np.stack([up, down])))[:, best]
            slope += (y[0] - y[1]) / (2 * step)
            product += x[c, i, j] * (y[0] - y[1]) / (2 * step)
        assert told["gradient"]["values"][i][j] == pytest.approx(slope, rel=1e-4, abs=1e-6)
        assert told["product"]["values"][i][j] == pytest.approx(product, rel=1e-4, abs=1e-6)
    assert told["class"] == str(best)
    assert told["target"] == f"the logit of {best}"


def test_the_occlusion_is_xcnns(backend):
    model = residual(backend=backend)
    told, found = told_of(model, picture()), occlusion(model, picture())
    np.testing.assert_allclose(told["occlusion"]["values"], found.values, rtol=5e-6, atol=1e-12)
    assert (told["occlusion"]["size"], told["occlusion"]["stride"]) == (found.size, found.stride)
    assert told["occlusion"]["before"] == pytest.approx(found.before, rel=5e-6)


def test_words_say_what_is_shown():
    x, _ = stripes(1)
    model = plain(backend="numpy", seed=1)
    model.classes = ("top", "middle", "bottom")
    text = told_of(model, x[0])["text"]
    name = model.explain(x[0]).classes[int(model.predict_classes(x)[0])]
    assert text[0].startswith(f"the model says {name} (")
    assert text[1].startswith(f"gradient: how fast the logit of {name} rises when a pixel gets brighter")
    assert text[2].startswith("gradient × picture: ")
    assert text[3].startswith(
        f"occlusion: by how much the probability of {name} falls when a square of 2 × 2 "
    )


def test_the_place_that_matters_most_is_named():
    model = xcnn.Model([Flatten(), Dense(2)], (1, 8, 8), backend="numpy")
    w = np.zeros((2, 8, 8), np.float32)
    w[1, 4:6, 2:4] = 1.0
    model.layers[1].w.value = w.reshape(2, 64)
    x = np.pad(np.full((1, 6, 6), 0.5, np.float32), ((0, 0), (1, 1), (1, 1)))
    said = told_of(model, x)["text"][-1]
    assert said.endswith("most at rows 4 to 5, columns 2 to 3: from 0.8808 to 0.5")


def test_an_answer_that_no_pixel_changes_is_said_to_be_one():
    model = xcnn.Model([Flatten(), Dense(2, bias=False), ReLU()], (1, 4, 4), backend="numpy")
    model.layers[1].w.value = np.full_like(model.layers[1].w.value, -1.0)
    told = told_of(model, picture((1, 4, 4)))
    assert told["text"][1] == "the gradient of the logit of 0 is 0 everywhere: no pixel changes it a little"
    assert told["text"][2].endswith("is covered; nowhere does it")
    assert not np.any(told["gradient"]["values"])


def test_a_model_of_features_has_a_gradient_alone():
    told = told_of(xcnn.Model([Dense(3)], (5,)), picture((5,)))
    assert np.shape(told["gradient"]["values"]) == (1, 5)
    assert told["occlusion"] is None
    assert len(told["text"]) == 3


def test_a_number_is_no_class():
    model = xcnn.Model([Flatten(), Dense(1)], (1, 4, 4))
    told = told_of(model, picture((1, 4, 4)))
    assert (told["class"], told["target"]) == (None, "the output at feature 0")
    assert told["occlusion"]["target"] == "the output at feature 0"


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_an_answer_of_nan_passes_as_null():
    x = picture((1, 8, 8))
    x[0, 2, 2] = np.nan
    told = told_of(plain(backend="numpy"), x)
    assert told["class"] is None
    assert told["occlusion"]["before"] is None
    assert told["text"][0].startswith("the model gives NaN")
    assert told["text"][-1].endswith("is covered; it is no number")

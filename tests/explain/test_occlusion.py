"""Occlusion: what covering a part of the picture does, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xcnn
from tests.nets import plain, stripes
from xcnn.errors import OptionError, ShapeError
from xcnn.explain import occlusion
from xcnn.layers import BatchNorm2D, Conv2D, Dense, Flatten, GlobalAvgPool2D, Identity, ReLU, Sequential, Sum


def looped(model, x, size, stride, ground, label):
    """The drops and their means over pixels, one picture and one pixel after the other."""
    _, h, w = x.shape

    def chance(image):
        p = np.asarray(model.predict_proba(image[None]), np.float64)[0]
        return (p if len(p) > 1 else [1 - p[0], p[0]])[label]

    rows, columns = (sorted({*range(0, n - size + 1, stride), n - size}) for n in (h, w))
    drops = np.empty((len(rows), len(columns)))
    covering = [[[] for _ in range(w)] for _ in range(h)]
    for a, r in enumerate(rows):
        for b, k in enumerate(columns):
            covered = x.copy()
            for c in range(len(x)):
                covered[c, r : r + size, k : k + size] = ground[c]
            drops[a, b] = chance(x) - chance(covered)
            for i in range(r, r + size):
                for j in range(k, k + size):
                    covering[i][j].append(drops[a, b])
    return drops, np.array([[np.mean(values) for values in row] for row in covering])


def small(shape, outputs=3, seed=0, **options):
    layers = [
        Conv2D(4, 2, padding="same", activation="relu"),
        Sum(Identity(), Sequential(Conv2D(4, 3, padding="same"), BatchNorm2D(), ReLU())),
        GlobalAvgPool2D(),
        Dense(outputs),
    ]
    return xcnn.Model(layers, shape, seed=seed, **options)


def test_drops_are_those_of_a_plain_loop(backend):
    model = small((2, 9, 7), backend=backend)
    x = np.random.default_rng(0).random((2, 9, 7), np.float32)
    found = occlusion(model, backend.asarray(x), size=3, stride=2, value=[0.25, 0.5], batch_size=4)
    drops, values = looped(model, x, 3, 2, [0.25, 0.5], found.label)
    np.testing.assert_allclose(found.drops, drops, atol=1e-6)
    np.testing.assert_allclose(found.values, values, atol=1e-6)
    assert (found.rows, found.columns) == ([0, 2, 4, 6], [0, 2, 4])
    assert found.label == int(np.asarray(model.predict_classes(x[None]))[0])
    assert found.target == f"the probability of {found.label}"
    assert found.before == pytest.approx(
        float(np.asarray(model.predict_proba(x[None]))[0, found.label]), abs=1e-6
    )


@settings(max_examples=15)
@given(st.data())
def test_any_picture_is_covered_whole(data):
    shape = tuple(data.draw(st.integers(1, top)) for top in (3, 9, 9))
    size = data.draw(st.integers(1, min(shape[1:])))
    stride = data.draw(st.integers(1, size))
    x = np.random.default_rng(1).random(shape)
    model = small(shape, dtype="float64", backend="numpy", seed=1)
    found = occlusion(model, x, size=size, stride=stride, batch_size=data.draw(st.integers(1, 70)))
    edge = np.ones(shape[1:], bool)
    edge[1:-1, 1:-1] = False
    ground = np.median(x[:, edge], axis=1)
    np.testing.assert_allclose(found.ground, ground)
    drops, values = looped(model, x, size, stride, ground, found.label)
    np.testing.assert_allclose(found.drops, drops, atol=1e-12)
    np.testing.assert_allclose(found.values, values, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "size", "stride"),
    [((1, 28, 28), 4, 1), ((1, 8, 8), 2, 1), ((3, 32, 32), 5, 1), ((3, 112, 224), 16, 4), ((1, 1, 9), 1, 1)],
)
def test_squares_fit_the_picture(shape, size, stride):
    model = xcnn.Model([GlobalAvgPool2D(), Dense(2)], shape, backend="numpy")
    found = occlusion(model, np.zeros(shape, np.uint8))
    assert (found.size, found.stride) == (size, stride)
    assert found.values.shape == shape[1:]
    assert not found.values.any()  # ground on ground


def test_a_light_ground_is_the_ground():
    x, _ = stripes(1)
    model = plain(backend="numpy")
    page = 1 - np.pad(x[0][:, 2:6, 2:6], ((0, 0), (2, 2), (2, 2)))
    assert occlusion(model, page).ground.tolist() == [1.0]
    assert occlusion(model, page, value=0).ground.tolist() == [0.0]


@pytest.mark.parametrize(("activation", "loss"), [("sigmoid", None), (None, "binary_cross_entropy")])
@pytest.mark.parametrize("sign", [1, -1])
def test_of_two_classes_it_is_the_probability_of_the_predicted_one(activation, loss, sign):
    model = xcnn.Model([Flatten(), Dense(1, activation=activation)], (1, 4, 4), backend="numpy")
    model.layers[1].w.value = np.full_like(model.layers[1].w.value, 0.1 * sign)
    model.loss = loss and xcnn.losses.get(loss)
    model.classes = ("benign", "sick")
    found = occlusion(model, np.ones((1, 4, 4), np.float32), size=2, stride=2, value=0)
    assert found.target == f"the probability of {'sick' if sign > 0 else 'benign'}"
    assert found.label == (sign > 0)
    before, after = 1 / (1 + np.exp(-1.6)), 1 / (1 + np.exp(-1.2))
    np.testing.assert_allclose(found.values, before - after, rtol=1e-5)
    assert found.before == pytest.approx(before, rel=1e-6)


def test_without_classes_it_is_the_largest_output():
    model = xcnn.Model([Conv2D(1, 1)], (1, 3, 3), backend="numpy", dtype="float64")
    model.layers[0].w.value = np.full_like(model.layers[0].w.value, 2.0)
    x = np.arange(9.0).reshape(1, 3, 3)
    found = occlusion(model, x, size=1, value=0)
    assert (found.target, found.label) == ("the output at channel 0, row 2, column 2", None)
    assert found.before == 16
    np.testing.assert_allclose(found.values, np.where(x[0] == 8, 16, 0))


def test_it_is_drawn_beside_the_picture(tmp_path):
    x, _ = stripes(1)
    found = occlusion(plain(backend="numpy"), x[0])
    made = found.plot(tmp_path / "occlusion.png")
    drawn = [image.get_array() for axes in made.axes for image in axes.images]
    np.testing.assert_allclose(drawn[0], x[0, 0])
    np.testing.assert_allclose(drawn[1], found.values)
    assert made.get_suptitle().startswith(f"The probability of {found.label}: 0.")
    assert (tmp_path / "occlusion.png").stat().st_size > 1000
    assert found._repr_png_().startswith(b"\x89PNG")


def test_the_model_is_left_as_it_was():
    x, _ = stripes(1)
    model = plain(backend="numpy")
    arrays, seen = model.state.arrays, x[0].copy()
    occlusion(model, seen)
    assert model.state.arrays is arrays
    np.testing.assert_array_equal(seen, x[0])


def test_what_does_not_fit_is_refused():
    x, _ = stripes(2)
    model = plain(backend="numpy")
    with pytest.raises(
        ShapeError, match=r"occlusion: the model takes inputs \(5,\); needed a model of pictures"
    ):
        occlusion(xcnn.Model([Dense(2)], (5,)), np.zeros(5))
    with pytest.raises(ShapeError, match="x holds 2 inputs"):
        occlusion(model, x)
    with pytest.raises(OptionError, match=r"size is 9, stride 2; needed stride <= size, and size <= 8"):
        occlusion(model, x[0], size=9)
    with pytest.raises(OptionError, match="size is 2, stride 3; needed stride <= size"):
        occlusion(model, x[0], stride=3)
    with pytest.raises(
        OptionError, match=r"value is \[0, 1\]; needed a number, or one for each of 1 channels"
    ):
        occlusion(model, x[0], value=[0, 1])
    with pytest.raises(OptionError, match="occlusion: size is 0; needed an integer of at least 1"):
        occlusion(model, x[0], size=0)

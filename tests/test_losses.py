"""Losses as objects: names, labels they accept, links, and PyTorch's numbers."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.conftest import TESTED
from tests.ops.checks import says
from xcnn import losses, ops
from xcnn.backend import backend_of
from xcnn.errors import DataError, DTypeError, OptionError, ShapeError

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(6, 4))
CLASSES = np.array([0, 3, 1, 2, 2, 0])
HOT = np.eye(4)[CLASSES]


def accept(labels, loss="cross_entropy", n=6, shape=(4,), backend="numpy", dtype="float32"):
    return losses.get(loss).accept(labels, n, shape, xcnn.get_backend(backend), dtype)


@pytest.mark.parametrize(
    ("loss", "op", "labels"),
    [
        (losses.CrossEntropy(), "cross_entropy", CLASSES),
        (losses.BinaryCrossEntropy(), "binary_cross_entropy", HOT),
        (losses.MeanSquaredError(), "mse", HOT),
        (losses.MeanAbsoluteError(), "mae", HOT),
        (losses.Huber(), "huber", HOT),
    ],
)
def test_a_loss_is_its_op(loss, op, labels, backend):
    z, y = backend.asarray(Z), backend.asarray(labels)
    (got, saved), (want, saved_too) = loss(z, y), getattr(ops, op)(z, y)
    assert float(got) == float(want)
    dz, dz_too = saved.backward(1.0)[0], saved_too.backward(1.0)[0]
    np.testing.assert_array_equal(backend.to_numpy(dz), backend.to_numpy(dz_too))
    assert losses.get(loss.name) == loss
    assert losses.get(loss) is loss


def test_options_reach_the_op(backend, torch):
    z, y = backend.asarray(Z), backend.asarray(CLASSES)
    weights = [0.5, 1.0, 2.0, 0.0]
    got, _ = losses.CrossEntropy(0.1, weights)(z, y)
    tensor, labels, w = torch.tensor(Z), torch.tensor(CLASSES), torch.tensor(weights, dtype=torch.float64)
    want = torch.nn.functional.cross_entropy(tensor, labels, weight=w, label_smoothing=0.1)
    assert float(got) == pytest.approx(float(want))
    got, _ = losses.Huber(0.3)(z, backend.asarray(HOT))
    want = torch.nn.functional.huber_loss(tensor, torch.tensor(HOT), delta=0.3)
    assert float(got) == pytest.approx(float(want))


def test_class_weights_live_where_the_outputs_do(backend):
    loss = losses.CrossEntropy(class_weights=np.array([1.0, 2.0, 3.0, 4.0]))
    found = []
    for dtype in ("float32", "float64"):
        found.append(float(loss(backend.asarray(Z, dtype), backend.asarray(CLASSES))[0]))
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert loss.class_weights == (1, 2, 3, 4)
    assert loss == losses.CrossEntropy(0.0, (1, 2, 3, 4))
    hash(loss)


def test_probabilities_are_taken_as_they_are(backend):
    p = np.exp(Z) / np.exp(Z).sum(1, keepdims=True)
    got, _ = losses.CrossEntropy()(backend.asarray(p), backend.asarray(CLASSES), probabilities=True)
    assert float(got) == pytest.approx(-np.log(p[np.arange(6), CLASSES]).mean())
    got, _ = losses.BinaryCrossEntropy()(backend.asarray(p), backend.asarray(HOT), probabilities=True)
    assert float(got) == pytest.approx(-np.where(HOT > 0, np.log(p), np.log(1 - p)).mean())


def test_links_and_kinds():
    found = {name: (kind.link, kind.classifies) for name, kind in losses.NAMES.items()}
    assert found == {
        "cross_entropy": ("softmax", True),
        "binary_cross_entropy": ("sigmoid", True),
        "mse": (None, False),
        "mae": (None, False),
        "huber": (None, False),
    }


# Labels


@pytest.mark.parametrize("other", TESTED)
@pytest.mark.parametrize("kind", ["int8", "int32", "int64", "uint8", "uint16", "uint64", ">i4", "bool"])
def test_classes_of_any_integer_dtype_become_int64(kind, other, backend):
    labels = (CLASSES > 1 if kind == "bool" else CLASSES).astype(kind)
    there = xcnn.get_backend(other)
    given = there.asarray(labels.astype(labels.dtype.newbyteorder("=")))
    for a in (given, labels):
        got = accept(a, backend=backend)
        assert backend_of(got) is backend
        assert str(got.dtype).endswith("int64")
        np.testing.assert_array_equal(backend.to_numpy(got), labels)


def test_floating_labels_become_the_models_dtype(backend):
    for kind in ("float16", "float64", ">f4"):
        got = accept(HOT.astype(kind), backend=backend)
        assert str(got.dtype).endswith("float32")
        np.testing.assert_array_equal(backend.to_numpy(got), HOT)


@pytest.mark.parametrize("labels", [CLASSES, CLASSES.astype("uint8"), CLASSES > 1, HOT, HOT > 0.5])
def test_labels_that_were_checked_are_placed_as_those_that_are_accepted(labels, backend):
    got = losses.CrossEntropy().place(labels, backend, "float32")
    want = accept(labels, backend=backend)
    assert backend_of(got) is backend
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(backend.to_numpy(got), backend.to_numpy(want))


def test_lists_are_labels(backend):
    np.testing.assert_array_equal(backend.to_numpy(accept(CLASSES.tolist(), backend=backend)), CLASSES)
    np.testing.assert_array_equal(backend.to_numpy(accept(HOT.tolist(), backend=backend)), HOT)


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        (
            CLASSES[:5],
            {},
            ShapeError,
            "cross_entropy: labels have shape (5,) for 6 images; needed one label per image",
        ),
        (np.int64(3), {}, ShapeError, "labels have shape ()"),
        (CLASSES - 1, {}, DataError, "labels reach from -1 to 2; the model's 4 outputs need 0 to 3"),
        (CLASSES + 1, {}, DataError, "labels reach from 1 to 4; the model's 4 outputs need 0 to 3"),
        (
            CLASSES[:, None],
            {},
            ShapeError,
            "labels have shape (6, 1)",
        ),
        (
            HOT[:, :3],
            {},
            ShapeError,
            "labels have shape (6, 3) and dtype float64; needed integers (N,) or (N, 4)",
        ),
        (
            CLASSES + 0.0,
            {},
            ShapeError,
            "labels have shape (6,) and dtype float64; needed integers (N,) or (N, 4)",
        ),
        (
            np.array(["a"] * 6),
            {},
            DTypeError,
            "labels have dtype <U1; needed integers (classes) or floating numbers",
        ),
        (np.array([None] * 6), {}, DTypeError, "labels have dtype object"),
        (HOT + 1j, {}, DTypeError, "labels have dtype complex128"),
        (None, {}, DTypeError, "got a builtins.NoneType; needed an array"),
        ("abcdef", {}, DTypeError, "got a builtins.str; needed an array"),
        (
            CLASSES,
            {"loss": "binary_cross_entropy", "shape": (1,)},
            DataError,
            "labels reach from 0 to 3; the model's 1 outputs need 0 to 1",
        ),
        (
            CLASSES[:, None],
            {"loss": "binary_cross_entropy", "shape": (1,)},
            DataError,
            "labels reach from 0 to 3",
        ),
        (CLASSES + 9, {"loss": "mse"}, DataError, "labels reach from 9 to 12"),
        (
            HOT,
            {"loss": "mse", "shape": (2, 2)},
            ShapeError,
            "mse: labels have shape (6, 4) and dtype float64; needed (N, 2, 2)",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, options, error, message, backend):
    with pytest.raises(error, match=says(message)):
        accept(labels, **options, backend=backend)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mse"])
def test_one_output_takes_labels_of_one_or_two_axes(loss, backend):
    z = backend.asarray(Z[:, :1])
    zeros_and_ones = CLASSES > 1
    found = set()
    for labels in (
        zeros_and_ones.astype(int),
        zeros_and_ones.astype(int)[:, None],
        zeros_and_ones + 0.0,
        zeros_and_ones[:, None] + 0.0,
    ):
        y = accept(labels, loss, shape=(1,), backend=backend, dtype="float64")
        found.add(round(float(losses.get(loss)(z, y)[0]), 12))
    assert len(found) == 1


def test_whole_numbers_in_one_hot_rows_are_refused_by_the_op(backend):
    z, y = backend.asarray(Z), accept(HOT.astype("int64"), backend=backend)
    with pytest.raises(xcnn.Error, match=says("cross_entropy: labels have shape (6, 4) and dtype", "int64")):
        losses.CrossEntropy()(z, y)


# Options


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_label_smoothing_is_a_fraction(value):
    with pytest.raises(
        OptionError, match=says("cross_entropy: label_smoothing is", "needed 0 <= label_smoothing < 1")
    ):
        losses.CrossEntropy(value)


@pytest.mark.parametrize("weights", [[-1, 1], [0, 0], [float("nan"), 1], [float("inf"), 1], []])
def test_class_weights_are_not_negative_and_have_a_sum(weights):
    with pytest.raises(OptionError, match=says("cross_entropy: class_weights is", "needed")):
        losses.CrossEntropy(class_weights=weights)


def test_class_weights_of_the_wrong_number_are_refused(backend):
    with pytest.raises(ShapeError, match=says("cross_entropy: class_weights has shape (3,); needed (4,)")):
        losses.CrossEntropy(class_weights=[1, 2, 3])(backend.asarray(Z), backend.asarray(CLASSES))


@pytest.mark.parametrize("delta", [0.0, -1.0, float("nan")])
def test_a_delta_that_is_not_positive_is_refused(delta):
    with pytest.raises(OptionError, match=says("huber: delta is", "needed a positive number")):
        losses.Huber(delta)


@pytest.mark.parametrize("name", ["cross_entropi", "mean_squared", 5, None, ["mse"], losses.CrossEntropy])
def test_an_unknown_loss_is_refused(name):
    with pytest.raises(OptionError, match=says(f"unknown loss {name!r}")):
        losses.get(name)


def test_a_near_miss_is_suggested():
    with pytest.raises(
        OptionError, match=says("unknown loss 'cross_entropi'; did you mean 'cross_entropy'?")
    ):
        losses.get("cross_entropi")


def test_labels_of_one_class_are_counted():
    """One label for three rows would have been broadcast."""
    with pytest.raises(ShapeError, match=says("cross_entropy", "(1,)", "needed (3,)")):
        ops.cross_entropy(np.ones((3, 1)), np.zeros(1, int))
    with pytest.raises(DTypeError, match="integer"):
        ops.cross_entropy(np.ones((3, 1)), np.zeros(3, "float32"))


@pytest.mark.parametrize("value", ["x", None, (0.1,), np.ones(2), np.nan, True])
def test_options_that_are_no_numbers_are_refused(value):
    with pytest.raises(OptionError, match="cross_entropy: label_smoothing"):
        losses.CrossEntropy(label_smoothing=value)
    with pytest.raises(OptionError, match="huber: delta"):
        losses.Huber(delta=value)
    with pytest.raises(OptionError, match="label_smoothing"):
        ops.cross_entropy(np.ones((2, 3)), np.zeros(2, int), label_smoothing=value)


def test_a_loss_of_what_is_no_array_says_where():
    with pytest.raises(DTypeError, match=r"^cross_entropy: "):
        losses.CrossEntropy(class_weights=[1, 2])(3, np.zeros(2, int))
    with pytest.raises(DTypeError, match=r"^mse: got 1 arrays; needed 2"):
        ops.mse(np.ones(2), None)

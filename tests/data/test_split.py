"""Splits and subsets: in proportion, deterministic, nothing lost, nothing twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xcnn.backend import backend_of
from xcnn.data import DataSet, Rows, Split, channel_statistics, split
from xcnn.data.split import stratified
from xcnn.data.subset import pick_classes, pick_images
from xcnn.errors import DataError, DTypeError, OptionError, ShapeError

Y = np.repeat([2, 0, 1], [50, 30, 20])[np.random.default_rng(0).permutation(100)]
X = np.arange(100 * 4, dtype=np.uint8).reshape(100, 1, 2, 2)


@given(st.lists(st.integers(-3, 6), min_size=1, max_size=60), st.data())
def test_stratified_choice_is_in_proportion(labels, data):
    y = np.asarray(labels)
    n = data.draw(st.integers(0, len(y)))
    index = stratified(y, n, seed=3)
    assert len(index) == n
    assert np.all(np.diff(index) > 0)
    for c in np.unique(y):
        assert abs(np.sum(y[index] == c) - n * np.mean(y == c)) < 1


def test_split_holds_out_the_same_fraction_of_every_class():
    train, validation = split(X, Y, 0.2)
    assert np.bincount(train.y).tolist() == [24, 16, 40]
    assert np.bincount(validation.y).tolist() == [6, 4, 10]
    both = np.concatenate([train.x, validation.x])[:, 0, 0, 0]
    assert sorted(both.tolist()) == sorted(X[:, 0, 0, 0].tolist())
    assert train.x.dtype == X.dtype


def test_split_is_a_function_of_its_seed():
    a, b, c = (split(np.arange(100), Y, 0.2, seed=s)[1].x for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert np.all(np.diff(a) > 0)


@pytest.mark.parametrize("labels", [Y[:, None], Y.tolist(), Y.astype(np.uint8)])
def test_labels_of_any_integer_kind_are_split_by_class(labels):
    np.testing.assert_array_equal(split(np.arange(100), labels, 0.2)[1].x, split(np.arange(100), Y, 0.2)[1].x)


@pytest.mark.parametrize("targets", [np.linspace(0, 1, 100), np.eye(3)[Y], np.zeros((100, 4), int)])
def test_other_targets_are_split_at_random(targets):
    train, validation = split(np.arange(100), targets, 0.1)
    assert len(train.y) == 90
    np.testing.assert_array_equal(validation.y, targets[validation.x])


def test_arrays_of_every_library_are_split_where_they_are(backend):
    train, validation = split(backend.asarray(X), backend.asarray(Y), 0.2)
    want = split(X, Y, 0.2)
    for got, expected in zip((*train, *validation), (*want[0], *want[1]), strict=True):
        assert backend_of(got).root == backend.root
        np.testing.assert_array_equal(backend.to_numpy(got), expected)


def test_a_memory_map_is_split_without_reading_it(tmp_path):
    np.save(tmp_path / "x.npy", X)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    train, validation = split(x, Y, 0.2)
    want, _ = split(X, Y, 0.2)
    assert isinstance(train.x, Rows)
    assert train.x.shape == (80, 1, 2, 2)
    assert train.x.dtype == np.uint8
    assert len(validation.x) == 20
    np.testing.assert_array_equal(train.x[3:9], want.x[3:9])
    np.testing.assert_array_equal(train.x[np.array([7, 2])], want.x[[7, 2]])
    np.testing.assert_array_equal(train.x[5], want.x[5])
    np.testing.assert_allclose(channel_statistics(train.x, chunk=7), channel_statistics(want.x), rtol=1e-12)


def test_labels_in_a_memory_map_are_read(tmp_path):
    np.save(tmp_path / "y.npy", Y)
    train, _ = split(X, np.load(tmp_path / "y.npy", mmap_mode="r"), 0.2)
    assert isinstance(train.y, np.ndarray)


def test_two_images_are_enough_for_two_parts():
    for fraction in (0.001, 0.999):
        train, validation = split(np.arange(2), np.zeros(2, int), fraction)
        assert len(train.x) == len(validation.x) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X, Y, 0), OptionError, "split: fraction is 0; needed a number above 0 and below 1"),
        ((X, Y, 1.0), OptionError, "fraction is 1.0"),
        ((X, Y, float("nan")), OptionError, "fraction is nan"),
        ((X, Y[1:], 0.5), DataError, "x has 100 images and y has 99 labels"),
        ((X[:1], Y[:1], 0.5), DataError, "x has 1 image; needed at least 2"),
    ],
)
def test_an_impossible_split_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        split(*arguments)


def data() -> DataSet:
    return DataSet("toy", Split(X, Y), Split(X[:20], Y[:20]), ("ant", "bee", "cat"))


def test_classes_are_relabelled_in_the_order_given():
    got = pick_classes(data(), ["cat", 0])
    assert got.classes == ("cat", "ant")
    assert np.bincount(got.train.y).tolist() == [50, 30]
    np.testing.assert_array_equal(got.train.x, X[Y != 1])
    np.testing.assert_array_equal(got.train.y, np.where(Y == 2, 0, 1)[Y != 1])
    assert pick_classes(data(), "bee").classes == ("bee",)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["act"], "unknown class 'act'; did you mean 'cat'"),
        ([3], "class is 3; needed a name, or a label from 0 to 2"),
        ([True], "class is True"),
        ([], "needed at least one class, each once"),
        (["ant", 0], "needed at least one class, each once"),
    ],
)
def test_unknown_classes_are_refused(classes, message):
    with pytest.raises(OptionError, match=message):
        pick_classes(data(), classes)


def test_a_smaller_set_keeps_the_proportions():
    got = pick_images(Split(X, Y), 10, what="train_size", seed=0)
    assert np.bincount(got.y).tolist() == [3, 2, 5]
    assert not np.array_equal(got.x, pick_images(Split(X, Y), 10, what="train_size", seed=1).x)


@pytest.mark.parametrize("size", [0, 101, 0.5, True])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(OptionError, match=r"train_size is .*; needed an integer from 1 to 100"):
        pick_images(Split(X, Y), size, what="train_size", seed=0)


def test_a_split_is_shown_by_its_shapes_and_taken_apart():
    part = Split(X, Y)
    assert repr(part) == "Split(x: (100, 1, 2, 2) uint8, y: (100,) int64)"
    x, y = part
    assert x is X
    assert y is Y


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_statistics_are_those_of_all_pixels(dtype, chunk):
    x = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 5)).astype(dtype)
    scale = 255 if dtype == "uint8" else 1
    mean, std = channel_statistics(x, chunk=chunk)
    np.testing.assert_allclose(mean, x.mean(axis=(0, 2, 3), dtype=np.float64) / scale, rtol=1e-12)
    np.testing.assert_allclose(std, x.std(axis=(0, 2, 3), dtype=np.float64) / scale, rtol=1e-12)
    assert all(type(a) is float for a in mean + std)


def test_statistics_are_stable_far_from_zero():
    x = 1e8 + np.random.default_rng(0).standard_normal((64, 1, 8, 8))
    (_,), (std,) = channel_statistics(x, chunk=5)
    assert std == pytest.approx(x.std(), rel=1e-9)


def test_statistics_of_every_library_agree(backend):
    x = np.random.default_rng(0).random((9, 2, 3, 3), np.float32)
    got = channel_statistics(backend.asarray(x), chunk=4)
    np.testing.assert_allclose(got, channel_statistics(x), rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((3, 4)), ShapeError, r"x has shape \(3, 4\); needed \(N, C, H, W\)"),
        (np.zeros((0, 1, 2, 2)), DataError, "needed at least one pixel"),
        (np.zeros((2, 1, 2, 2), np.int32), DTypeError, "x has dtype int32; needed uint8 or a floating dtype"),
        (np.full((2, 1, 2, 2), np.nan), DataError, "x holds NaN or infinity; needed finite pixels"),
    ],
)
def test_statistics_of_something_else_are_refused(x, error, message):
    with pytest.raises(error, match=message):
        channel_statistics(x)


def test_statistics_need_a_positive_chunk():
    with pytest.raises(OptionError, match="chunk is 0"):
        channel_statistics(np.zeros((1, 1, 1, 1)), chunk=0)


@pytest.mark.parametrize(
    "x", [(a for a in "xy"), None, 3, "xy", np.float32(1)], ids=lambda x: type(x).__name__
)
def test_what_has_no_rows_is_refused(x):
    with pytest.raises(DTypeError, match=r"^split: x is a .* without rows"):
        split(x, [0, 1], 0.5)
    with pytest.raises(DTypeError, match=r"^channel_statistics: x is a .* without rows"):
        channel_statistics(x)


def test_options_that_are_no_numbers_are_refused():
    with pytest.raises(OptionError, match="split: fraction is"):
        split(np.ones((4, 1)), np.zeros(4, int), len)
    with pytest.raises(OptionError, match="split: seed is"):
        split(np.ones((4, 1)), np.zeros(4, int), 0.5, seed="x")
    for chunk in ((1,), np.bool_(True), np.ones(2), "1"):
        with pytest.raises(OptionError, match="channel_statistics: chunk is"):
            channel_statistics(np.ones((1, 1, 2, 2)), chunk=chunk)

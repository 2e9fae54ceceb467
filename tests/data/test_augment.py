"""Augmentation: deterministic for each image, within its limits, true to its formulas."""

from __future__ import annotations

import numpy as np
import pytest

from xcnn.backend import backend_of, get_backend
from xcnn.data import Compose, Cutout, Loader, RandomCrop, RandomFlip, RandomRotation, RandomShift
from xcnn.data.augment import bilinear
from xcnn.errors import Error, OptionError, ShapeError

EVERY = [
    RandomCrop(2),
    RandomFlip(),
    RandomFlip(horizontal=True, vertical=True),
    RandomShift(1.5),
    RandomRotation(30),
    Cutout(4),
    Compose([RandomCrop(1), RandomFlip(), Compose([Cutout(3), RandomRotation(5)])]),
]
N, C, H, W = 40, 3, 9, 7


def images(dtype):
    x = np.random.default_rng(0).random((N, C, H, W))
    return (256 * x).astype(dtype) if dtype == "uint8" else x.astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("augment", EVERY, ids=repr)
def test_shape_and_dtype_stay_and_the_original_too(augment, dtype):
    x = images(dtype)
    before = x.copy()
    y = augment(x, seed=1, epoch=2, index=np.arange(N))
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert not np.array_equal(x, y)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("augment", EVERY, ids=repr)
def test_every_library_gives_the_same_images_on_its_device(augment, dtype, backend):
    """Bits where pixels are moved or blanked; within rounding where they are mixed."""
    x, index = images(dtype), np.arange(N) * 2**20
    want = augment(x, seed=2**40, epoch=3, index=index)
    for given in (backend.asarray(index), index):
        got = augment(backend.asarray(x), seed=2**40, epoch=3, index=given)
        assert backend_of(got) is backend
        got = backend.to_numpy(got)
        assert got.dtype == x.dtype
        if "Rotation" in repr(augment):
            assert np.mean(got != want) < 0.01 or dtype != "uint8"
            np.testing.assert_allclose(
                got.astype(float), want.astype(float), rtol=1e-6, atol=1e-5 + (dtype == "uint8")
            )
        else:
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("augment", EVERY, ids=repr)
def test_those_that_take_arrays_of_any_library_say_so(augment):
    assert augment.array_api
    assert not Compose([augment, lambda x, **_: x]).array_api


@pytest.mark.parametrize("augment", EVERY, ids=repr)
def test_an_image_does_not_depend_on_its_batch(augment):
    x = images("float32")
    whole = augment(x, seed=1, epoch=2, index=np.arange(N))
    order = np.random.default_rng(1).permutation(N)
    for some in np.array_split(order, 7):
        np.testing.assert_array_equal(augment(x[some], seed=1, epoch=2, index=some), whole[some])


@pytest.mark.parametrize("augment", EVERY, ids=repr)
def test_seed_epoch_and_index_each_matter(augment):
    x = np.repeat(images("float32")[:1], N, axis=0)
    base = augment(x, seed=1, epoch=2, index=np.arange(N))
    for seed, epoch, start in ((2, 2, 0), (1, 3, 0), (1, 2, N)):
        assert not np.array_equal(base, augment(x, seed=seed, epoch=epoch, index=np.arange(start, start + N)))
    assert len(np.unique(base.reshape(N, -1), axis=0)) > 1


@pytest.mark.parametrize("prefetch", [False, 3])
def test_batch_size_and_prefetch_change_no_image(prefetch):
    x, augment = images("uint8"), EVERY[-1]
    want = augment(x, seed=5, epoch=1, index=np.arange(N))
    for batch_size in (1, 7, N):
        loader = Loader(x, np.arange(N), batch_size=batch_size, seed=5, augment=augment, prefetch=prefetch)
        for got, index in loader.epoch(1):
            np.testing.assert_array_equal(got, want[index])


def test_crop_cuts_every_window_of_the_padded_image():
    x = np.arange(1, 10, dtype=np.uint8).reshape(1, 1, 3, 3)
    padded = np.pad(x[0, 0], 1)
    windows = {padded[a : a + 3, b : b + 3].tobytes() for a in range(3) for b in range(3)}
    many = RandomCrop(1)(np.repeat(x, 500, axis=0), seed=0, epoch=0, index=np.arange(500))
    assert {y.tobytes() for y in many} == windows


def test_flip_mirrors_about_half():
    x = np.repeat(images("uint8")[:1], 1000, axis=0)
    y = RandomFlip()(x, seed=0, epoch=0, index=np.arange(1000))
    mirrored = np.all(y == x[..., ::-1], axis=(1, 2, 3))
    assert np.all(mirrored | np.all(y == x, axis=(1, 2, 3)))
    assert abs(mirrored.sum() - 500) < 4 * 250**0.5
    both = RandomFlip(vertical=True)(x, seed=0, epoch=0, index=np.arange(1000))
    assert len(np.unique(both.reshape(1000, -1), axis=0)) == 4
    np.testing.assert_array_equal(RandomFlip(horizontal=False)(x, seed=0, epoch=0, index=np.arange(1000)), x)


def test_shift_moves_the_centre_of_mass_within_its_limit():
    x = np.zeros((300, 1, 15, 15))
    x[:, :, 7, 7] = 1
    y = RandomShift(3.5)(x, seed=0, epoch=0, index=np.arange(300))
    np.testing.assert_allclose(y.sum(axis=(1, 2, 3)), 1)
    rows, columns = (np.tensordot(y[:, 0], grid - 7, 2) for grid in np.mgrid[:15, :15])
    for way in (rows, columns):
        assert abs(way).max() <= 3.5
        assert way.min() < -3
        assert way.max() > 3
        assert abs(way.mean()) < 4 * 3.5 / (3 * 300) ** 0.5
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 4 / 300**0.5


def test_a_quarter_turn_is_counterclockwise(monkeypatch):
    x = images("float64")[:2, :, :7]
    monkeypatch.setattr("xcnn.data.augment._within", lambda word, limit: np.full(word.shape, limit))
    y = RandomRotation(90)(x, seed=0, epoch=0, index=np.arange(2))
    np.testing.assert_allclose(y, np.rot90(x, axes=(2, 3)), atol=1e-12)


def test_rotation_turns_a_smooth_image_as_its_formula_says(monkeypatch):
    rows, columns = np.mgrid[:21, :21] - 10.0
    plane = 3 * rows + columns + 100  # bilinear interpolation is exact on a plane
    monkeypatch.setattr("xcnn.data.augment._within", lambda word, limit: np.full(word.shape, limit))
    y = RandomRotation(20)(plane[None, None], seed=0, epoch=0, index=np.arange(1))[0, 0]
    t = np.radians(20)
    want = 3 * (rows * np.cos(t) + columns * np.sin(t)) + columns * np.cos(t) - rows * np.sin(t) + 100
    inside = rows**2 + columns**2 < 90
    np.testing.assert_allclose(y[inside], want[inside], rtol=1e-12)


def test_rotation_angles_fill_their_range():
    x = np.zeros((400, 1, 41, 41))
    x[:, 0, 20, 35:38] = 1  # right of the centre
    y = RandomRotation(25)(x, seed=0, epoch=0, index=np.arange(400))[:, 0]
    rows, columns = (np.tensordot(y, grid - 20, 2) for grid in np.mgrid[:41, :41])
    angle = np.degrees(np.arctan2(-rows, columns))
    assert np.abs(angle).max() < 25.5
    assert angle.min() < -23
    assert angle.max() > 23


def test_bilinear_reads_between_pixels_and_fades_outside():
    x = np.array([[[[0.0, 4.0], [8.0, 12.0]]]])
    rows, columns = np.array([[[0.5, 0, -0.25, 9, 1]]]), np.array([[[0.5, 0.25, 1, 0, 1]]])
    np.testing.assert_allclose(bilinear(x, rows, columns)[0, 0], [[6, 1, 3, 0, 12]])
    rounded = bilinear(x.astype(np.uint8), rows[..., 1:2], np.array([[[0.4]]]))
    assert rounded.tolist() == [[[[2]]]]  # 1.6


@pytest.mark.parametrize("size", [1, 2, 5])
def test_cutout_blanks_one_square_that_may_stick_out(size):
    x = np.ones((500, 2, 8, 8), np.float32)
    y = Cutout(size)(x, seed=0, epoch=0, index=np.arange(500))
    np.testing.assert_array_equal(y[:, 0], y[:, 1])
    hole = y[:, 0] == 0
    heights, widths = hole.any(axis=2).sum(axis=1), hole.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(hole.sum(axis=(1, 2)), heights * widths)
    assert heights.max() == widths.max() == size
    assert heights.min() >= 1
    assert hole.any(axis=0).all()  # no pixel is spared


def test_steps_of_a_composition_draw_apart():
    x = np.repeat(images("uint8")[:1], 200, axis=0)
    index = np.arange(200)
    twice = Compose([RandomFlip(), RandomFlip()])(x, seed=0, epoch=0, index=index)
    assert not np.array_equal(twice, x)  # with equal draws the second would undo the first


def test_a_function_of_your_own_takes_part():
    x = images("uint8")
    y = Compose([lambda x, *, seed, epoch, index: 255 - x])(x, seed=0, epoch=0, index=np.arange(N))
    np.testing.assert_array_equal(y, 255 - x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(-1), "RandomCrop: padding is -1; needed an integer from 0 up"),
        (lambda: RandomCrop(1.5), "RandomCrop: padding is 1.5"),
        (lambda: RandomShift(float("nan")), "RandomShift: pixels is nan; needed a number from 0 up"),
        (lambda: RandomRotation(181), "RandomRotation: degrees is 181; needed a number from 0 to 180"),
        (lambda: Cutout(0), "Cutout: size is 0; needed an integer from 1 up"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()


def test_other_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"Cutout: x has shape \(3, 9, 7\)"):
        Cutout(2)(images("uint8")[0], seed=0, epoch=0, index=np.arange(3))
    with pytest.raises(ShapeError, match=r"index \(2,\); needed \(N, C, H, W\) and \(N,\)"):
        RandomFlip()(images("uint8"), seed=0, epoch=0, index=np.arange(2))


@pytest.mark.parametrize(
    "augment", [RandomCrop(1), RandomFlip(), RandomShift(), RandomRotation(), Cutout(2)], ids=repr
)
def test_what_is_no_batch_of_numbers_is_refused(augment):
    x, index = np.ones((2, 1, 4, 4)), np.arange(2)
    name = type(augment).__name__
    for images, numbers, options in (
        (object(), index, {}),
        (x.astype(object), index, {}),
        (x, np.ones(2), {}),
        (x, index, {"epoch": -1}),
        (x, index, {"epoch": np.ones(2)}),
        (x, index, {"seed": "x"}),
    ):
        with pytest.raises(Error, match=f"^{name}: "):
            augment(images, **{"seed": 0, "epoch": 0} | options, index=numbers)


@pytest.mark.parametrize("make", [RandomCrop, RandomShift, RandomRotation, Cutout])
@pytest.mark.parametrize("value", [None, (1, 2), "x", 10**30, np.ones(2)], ids=str)
def test_sizes_that_are_anything_are_refused(make, value):
    if make is RandomShift and isinstance(value, int):
        return
    with pytest.raises(OptionError, match=f"^{make.__name__}: "):
        make(value)


def test_numbers_of_images_may_come_in_another_library():
    x, index = np.arange(32.0).reshape(2, 1, 4, 4), get_backend("python").asarray([5, 6])
    want = RandomFlip()(x, seed=1, epoch=2, index=np.asarray([5, 6]))
    np.testing.assert_array_equal(RandomFlip()(x, seed=1, epoch=2, index=index), want)


def test_masks_are_images_and_ranges_are_numbers():
    x = np.arange(32).reshape(2, 1, 4, 4) % 3 == 0
    y = RandomFlip()(x, seed=1, epoch=2, index=range(5, 7))
    np.testing.assert_array_equal(y, RandomFlip()(1.0 * x, seed=1, epoch=2, index=np.arange(5, 7)) > 0)

"""Batches on the device: the images that the host's augmentation gives, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda.kinds import device
from xcnn.data import Loader
from xcnn.data.augment import Compose, Cutout, RandomCrop, RandomFlip

cupy = device()

from xcnn_cupy import inputs  # noqa: E402
from xcnn_cupy.layout import is_nhwc  # noqa: E402

SEED = 2**64 - 5
INDEX = np.array([3, 0, 10, 3, 7, 1, 2, 9, 4])


def draw(c=3, h=7, w=5, n=11):
    return np.random.default_rng(0).integers(0, 256, (n, c, h, w)).astype("uint8")


def on_device(x, channels_last):
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if channels_last else x
    return cupy.asarray(x).transpose(0, 3, 1, 2) if channels_last else cupy.asarray(x)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_all_bytes_are_scaled_as_by_division(dtype):
    x = np.arange(256, dtype="uint8").reshape(4, 4, 4, 4)
    for channels_last in (True, False):
        got = inputs.scale_bytes(on_device(x, channels_last), dtype)
        computed = np.float64 if dtype == "float64" else np.float32
        np.testing.assert_array_equal(got.get(), (x.astype(computed) / computed(255)).astype(dtype))
        assert is_nhwc(got) == channels_last


def test_bytes_that_are_not_dense_are_scaled():
    x = draw()
    np.testing.assert_array_equal(
        inputs.scale_bytes(cupy.asarray(x)[:, ::2, 1:], "float32").get(), x[:, ::2, 1:] / np.float32(255)
    )
    assert inputs.scale_bytes(cupy.asarray(x)[:0], "float32").shape == (0, 3, 7, 5)


AUGMENTS = [
    None,
    RandomCrop(2),
    RandomFlip(True, True),
    Compose([]),
    Compose([RandomFlip()]),
    Compose([RandomCrop(3), RandomFlip(vertical=True)]),
]


@pytest.mark.parametrize("shape", [(1, 7, 5), (3, 6, 6)])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("augment", AUGMENTS, ids=repr)
def test_an_augmented_batch_is_that_of_the_host_in_its_own_dtype(augment, dtype, channels_last, shape):
    x = draw(*shape).astype(dtype)
    want = augment(x[INDEX], seed=SEED, epoch=3, index=INDEX) if augment else x[INDEX]
    got = inputs.augmented(on_device(x, channels_last), cupy.asarray(INDEX), augment, seed=SEED, epoch=3)
    assert got.dtype == dtype
    assert is_nhwc(got)
    np.testing.assert_array_equal(got.get(), want)


def test_no_images_are_taken():
    index = cupy.asarray(INDEX[:0])
    assert inputs.augmented(cupy.asarray(draw()), index, None, seed=0, epoch=0).shape == (0, 3, 7, 5)


def test_an_augmentation_that_is_not_covered_is_left_to_itself():
    images, index = cupy.asarray(draw()), cupy.asarray(INDEX)
    steps = [
        [RandomFlip(), RandomCrop()],
        [RandomCrop(), RandomCrop()],
        [RandomCrop(), RandomFlip(), Cutout(2)],
    ]
    for augment in (Cutout(3), Compose([Compose([])]), *map(Compose, steps)):
        assert inputs.augmented(images, index, augment, seed=0, epoch=0) is NotImplemented
    assert inputs.augmented(images.astype("int16"), index, None, seed=0, epoch=0) is NotImplemented
    assert inputs.augmented(images[0], index, None, seed=0, epoch=0) is NotImplemented


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("augment", [None, RandomFlip(), Compose([RandomCrop(2), RandomFlip()])], ids=repr)
def test_a_loader_takes_a_batch_from_the_device_in_one_launch(augment, dtype):
    emulator = pytest.importorskip("cupy.emulator", reason="counts what only the emulated device counts")
    x, y = draw().astype(dtype), np.arange(11)
    options = {"batch_size": 4, "seed": 3, "augment": augment}
    host = list(Loader(x, y, **options).epoch(2))
    there = Loader(cupy.asarray(x), cupy.asarray(y), **options).epoch(2)
    got = [next(there)]
    assert emulator.counted(lambda: got.append(next(there))) == dict(
        syncs=0, uploads=0, launches=1, replays=0
    )
    for (images, labels), (want_x, want_y) in zip([*got, *there], host, strict=True):
        assert is_nhwc(images)
        np.testing.assert_array_equal(images.get(), want_x)
        np.testing.assert_array_equal(labels.get(), want_y)


def test_a_loader_serves_what_the_kernel_does_not_cover():
    x, y = draw(), np.arange(11)
    for data, augment in ((x, Cutout(3)), (x[:, 0, 0], None)):
        host = Loader(data, y, augment=augment, batch_size=4).epoch(0)
        there = Loader(cupy.asarray(data), y, augment=augment, batch_size=4).epoch(0)
        for (got, _), (want, _) in zip(there, host, strict=True):
            np.testing.assert_array_equal(got.get(), want)

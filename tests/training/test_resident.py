"""Data that live on the device: the same batches, sent once."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.nets import assert_same, full, host, stripes
from xcnn.data import Compose, Cutout, Loader, RandomCrop, RandomFlip
from xcnn.errors import DataError

X, Y = stripes(40)
BYTES = (X * 250).astype("uint8")
AUGMENT = Compose([RandomCrop(1), RandomFlip(), Cutout(2)])


@pytest.fixture
def room(monkeypatch):
    """Return a function that sets how many bytes of data a device has room for."""

    def of(backend, size):
        monkeypatch.setattr(type(backend), "room", lambda self: size)

    return of


@pytest.fixture
def served(monkeypatch):
    """Return the list of what the loaders of `fit` are made with: x, y."""
    made = []
    begin = Loader.__init__

    def note(self, x, y=None, /, **options):
        made.append((x, y))
        begin(self, x, y, **options)

    monkeypatch.setattr(Loader, "__init__", note)
    return made


@pytest.mark.parametrize("augment", [None, AUGMENT], ids=["plain", "augmented"])
@pytest.mark.parametrize("x", [X, BYTES, X.astype("float64")], ids=["float32", "uint8", "float64"])
def test_fit_learns_the_same_from_data_on_the_device(backend, room, served, x, augment):
    models = []
    for size in (0, 2**20):
        room(backend, size)
        model = full(backend=backend)
        options = {"epochs": 2, "batch_size": 16, "seed": 3, "augment": augment, "validation": 0.2}
        history = model.fit(x, Y, **options)
        models.append((host(model), dict(history)))
    assert_same(models[0][0], models[1][0])
    assert models[0][1] == models[1][1]
    (there_x, there_y), (here_x, here_y) = served[1], served[0]
    assert type(here_x) is type(here_y) is np.ndarray
    assert xcnn.backend.backend_of(there_x) is xcnn.backend.backend_of(there_y) is backend
    assert backend.to_numpy(there_x).dtype == x.dtype  # bytes stay bytes


@pytest.mark.parametrize("why", ["no room", "function", "memory map", "foreign dtype"])
def test_data_stay_on_the_host_where_they_must(backend, room, served, why, tmp_path):
    x, augment = X, None
    room(backend, X.nbytes + Y.nbytes - (why == "no room"))
    if why == "function":
        augment = Compose([AUGMENT, lambda x, **_: x])
    elif why == "memory map":
        np.save(tmp_path / "x.npy", X)
        x = np.load(tmp_path / "x.npy", mmap_mode="r")
    elif why == "foreign dtype":
        x = X.astype(">f4")
    full(backend=backend).fit(x, Y, augment=augment)
    ((given_x, given_y),) = served
    assert given_x is x
    assert given_y is Y


def test_wrong_labels_are_refused_before_the_first_step(backend, room):
    room(backend, 2**20)
    model = full(backend=backend)
    before = host(model)
    with pytest.raises(DataError, match="label"):
        model.fit(X, Y + 1)
    assert_same(host(model), before)


def test_validation_data_live_on_the_device_too(backend, room, monkeypatch):
    room(backend, 2**20)
    seen = []
    evaluate = xcnn.training.loop.evaluate
    spy = lambda m, x, y, **o: seen.append(x) or evaluate(m, x, y, **o)  # noqa: E731
    monkeypatch.setattr(xcnn.training.loop, "evaluate", spy)
    full(backend=backend).fit(X, Y, validation=(X[:8], Y[:8]))
    assert xcnn.backend.backend_of(seen[0]) is backend


def test_a_host_has_no_room():
    assert xcnn.get_backend("numpy").room() == xcnn.get_backend("python").room() == 0

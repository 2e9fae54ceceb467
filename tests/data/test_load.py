"""Data sets by name: toys of every form from a folder, the real ones where they are."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys

import numpy as np
import pytest

from xcnn.data import available, channel_statistics, load
from xcnn.data.cifar import RECORD, read_cifar10
from xcnn.data.files import Content, Source
from xcnn.data.sets import SETS, Known
from xcnn.errors import Error, FileError, OptionError


@pytest.fixture
def toy(bare, mirror, monkeypatch) -> Source:
    """Put a data set of five records, in one compressed file on a mirror, in the place of CIFAR-10."""
    pixels = np.random.default_rng(0).integers(0, 10, (5, RECORD), np.uint8).tobytes()
    mirror.files["/toy.gz"] = gzip.compress(pixels)
    content = Content("toy", len(pixels), hashlib.sha256(pixels).hexdigest())
    source = Source("toys", "toy.gz", (content,), (f"{mirror.address}/toy.gz",), "toy")

    def parse(files):
        ((_, data),) = files
        return read_cifar10([("data", data[: 3 * RECORD]), ("test", data[3 * RECORD :])])

    monkeypatch.setitem(SETS, "cifar10", Known(SETS["cifar10"].classes, (source,), parse))
    return source


def test_a_name_is_downloaded_once_and_then_found(toy, mirror, bare):
    for _ in range(2):
        data = load("cifar10")
        assert data.train.x.shape == (3, 3, 32, 32)
        assert data.test.x.shape == (2, 3, 32, 32)
        assert data.classes[3] == "cat"
    assert len(mirror.asked) == 1
    assert available()["cifar10"] == bare / "toys"


def test_a_damaged_file_is_refused_with_the_way_out(toy, mirror, bare):
    load("cifar10")
    path = bare / "toys" / "toy.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileError, match=r"toy\.gz: .*EOFError.* \(delete it to have it downloaded again\)"):
        load("cifar10")
    path.unlink()
    load("cifar10")


def test_without_download_a_missing_file_is_an_error(toy, bare):
    with pytest.raises(FileError, match=r"toy\.gz: not found in .*toys; needed it there, or download=True"):
        load("cifar10", download=False)


def test_files_in_a_root_are_used(toy, mirror, tmp_path):
    (tmp_path / "mine" / "toys").mkdir(parents=True)
    (tmp_path / "mine" / "toys" / "toy.gz").write_bytes(mirror.files["/toy.gz"])
    assert load("cifar10", root=tmp_path / "mine", download=False).train.x.shape == (3, 3, 32, 32)
    assert mirror.asked == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minst", "load: unknown data set 'minst', and no folder of that name; did you mean 'mnist'"),
        ("MNIST", "did you mean 'mnist'"),
        ("imagenet", "unknown data set 'imagenet'"),
    ],
)
def test_unknown_names_are_refused_with_a_suggestion(name, message):
    with pytest.raises(OptionError, match=message):
        load(name)


def test_what_is_no_name_is_refused():
    with pytest.raises(OptionError, match="name is 7; needed the name of a data set or a path"):
        load(7)


def test_a_path_to_nowhere_is_refused(tmp_path):
    with pytest.raises(FileError, match="no such folder"):
        load(os.fspath(tmp_path / "digits"))


@pytest.mark.parametrize("options", [{"size": (4, 4)}, {"grey": True}])
def test_options_of_folders_are_refused_elsewhere(options):
    with pytest.raises(OptionError, match="size and grey are for folders of images"):
        load("digits", **options)


def test_digits_need_no_download(bare):
    pytest.importorskip("sklearn", reason='needs scikit-learn: pip install "xcnn[app]"')
    data = load()
    assert data.name == "digits"
    assert data.train.x.shape == (1348, 1, 8, 8)
    assert data.test.x.shape == (449, 1, 8, 8)
    assert data.train.x.dtype == np.float32
    assert data.train.x.min() == 0
    assert data.train.x.max() == 1
    assert data.classes == tuple("0123456789")
    counts = np.bincount(data.train.y), np.bincount(data.test.y)
    np.testing.assert_allclose(counts[1] / (counts[0] + counts[1]), 0.25, atol=0.006)


def test_digits_held_out_are_the_same_for_every_seed(bare):
    pytest.importorskip("sklearn", reason='needs scikit-learn: pip install "xcnn[app]"')
    a, b = load("digits", seed=0), load("digits", seed=1, train_size=100)
    np.testing.assert_array_equal(a.test.x, b.test.x)
    held = {row.tobytes() for row in a.test.x}
    assert len(b.train.y) == 100
    assert not held & {row.tobytes() for row in b.train.x}
    digest = hashlib.sha256(a.test.x.astype("<f4").tobytes()).hexdigest()
    assert digest[:16] == "e8e2fb92a563a0ed", "models in use would be tested on images that they have learned"


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(Error, match=r'digits: .* not installed; needed: pip install "xcnn\[app\]"'):
        load("digits")


def test_every_file_has_a_mirror_and_a_sum():
    for known in SETS.values():
        for source in known.sources:
            assert source.mirrors
            assert all(address.endswith(f"/{source.name}") for address in source.mirrors)
            assert all(len(bytes.fromhex(content.sha256)) == 32 for content in source.contents)


OFFICIAL = {
    "optdigits": (
        (3823, 1, 8, 8),
        (1797, 1, 8, 8),
        "float32",
        [178, 182, 177, 183, 181, 182, 181, 179, 174, 180],
    ),
    "mnist": (
        (60000, 1, 28, 28),
        (10000, 1, 28, 28),
        "uint8",
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    "fashion-mnist": ((60000, 1, 28, 28), (10000, 1, 28, 28), "uint8", [1000] * 10),
    "cifar10": ((50000, 3, 32, 32), (10000, 3, 32, 32), "uint8", [1000] * 10),
}


def require(name: str) -> None:
    """Skip, and say so, unless the official files of a data set are in XCNN_DATA."""
    root = os.environ.get("XCNN_DATA")
    if not root:
        pytest.skip(f"XCNN_DATA is not set: the official files of {name} are not read")
    if available(root)[name] is None:
        pytest.skip(f"XCNN_DATA has no {name}: its official files are not read")


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_files_are_read(name):
    require(name)
    train, test, dtype, histogram = OFFICIAL[name]
    data = load(name, download=False)
    assert data.train.x.shape == train
    assert data.test.x.shape == test
    assert data.train.x.dtype == data.test.x.dtype == dtype
    assert np.bincount(data.test.y).tolist() == histogram
    assert len(data.classes) == 10


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("mnist", ((0.1307,), (0.3081,))),
        ("fashion-mnist", ((0.2860,), (0.3530,))),
        ("cifar10", ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))),
    ],
)
def test_statistics_are_those_that_others_normalise_by(name, published):
    require(name)
    got = channel_statistics(load(name, download=False).train.x)
    np.testing.assert_allclose(got, published, atol=6e-5)


def test_scikit_learns_digits_are_the_official_test_images():
    require("optdigits")
    datasets = pytest.importorskip("sklearn.datasets", reason='needs scikit-learn: pip install "xcnn[app]"')
    x, y = datasets.load_digits(return_X_y=True)
    data = load("optdigits", download=False)
    np.testing.assert_array_equal(data.test.x.reshape(-1, 64) * 16, x)
    np.testing.assert_array_equal(data.test.y, y)

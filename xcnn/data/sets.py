"""The public data sets that `load` knows by name: their files, sums, mirrors and classes."""

from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from xcnn.data.cifar import RECORD, read_cifar10
from xcnn.data.dataset import Split
from xcnn.data.digits import read_digits, read_optdigits
from xcnn.data.files import Content, Source, contents, find, obtain
from xcnn.data.idx import parse_idx
from xcnn.errors import FileError

__all__ = ["SETS", "Known", "available", "read"]

Files: TypeAlias = Iterator[tuple[str, bytes]]  # names and checked contents


@dataclass(frozen=True)
class Known:
    """A public data set.

    Parameters
    ----------
    classes : tuple of str
        Name of each class, by label.
    sources : tuple of Source
        Its files; none if it comes with a package.
    parse : callable
        ``parse(files) -> (train, test)``, of the names and contents of the files in the order of `sources`.
    """

    classes: tuple[str, ...]
    sources: tuple[Source, ...]
    parse: Callable[[Files], tuple[Split, Split]]


def _idx_pairs(files: Files) -> tuple[Split, Split]:
    def part(n: int) -> Split:
        (name, pixels), (other, labels) = next(files), next(files)
        x = parse_idx(io.BytesIO(pixels), (n, 28, 28), name)
        return Split(x[:, None], parse_idx(io.BytesIO(labels), (n,), other).astype(np.int64))

    return part(60000), part(10000)


def _idx_sources(folder: str, mirrors: tuple[str, ...], *sums: str) -> tuple[Source, ...]:
    """Return the four files of MNIST, or of a set that has its form."""
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    sizes = (16 + 60000 * 28 * 28, 8 + 60000, 16 + 10000 * 28 * 28, 8 + 10000)
    return tuple(
        Source(
            folder=folder,
            name=f"{name}-ubyte.gz",
            contents=(Content(f"{name}-ubyte", size, digest),),
            mirrors=tuple(f"{mirror}{name}-ubyte.gz" for mirror in mirrors),
            unpacked=f"{name}-ubyte",
        )
        for name, size, digest in zip(names, sizes, sums, strict=True)
    )


def _optdigits_source(name: str, size: int, digest: str) -> Source:
    mirror = "https://archive.ics.uci.edu/ml/machine-learning-databases/optdigits/"
    return Source("optdigits", name, (Content(name, size, digest),), (mirror + name,), name)


_DIGITS = tuple("0123456789")

SETS: dict[str, Known] = {
    "digits": Known(_DIGITS, (), lambda _: read_digits()),
    "optdigits": Known(
        _DIGITS,
        (
            _optdigits_source(
                "optdigits.tra", 563639, "e1b683cc211604fe8fd8c4417e6a69f31380e0c61d4af22e93cc21e9257ffedd"
            ),
            _optdigits_source(
                "optdigits.tes", 264712, "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
            ),
        ),
        lambda files: (read_optdigits(*next(files)), read_optdigits(*next(files))),
    ),
    "mnist": Known(
        _DIGITS,
        _idx_sources(
            "mnist",
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        _idx_pairs,
    ),
    "fashion-mnist": Known(
        (
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        _idx_sources(
            "fashion-mnist",
            (
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            ),
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        _idx_pairs,
    ),
    "cifar10": Known(
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        (
            Source(
                folder="cifar-10",
                name="cifar-10-binary.tar.gz",
                contents=tuple(
                    Content(f"{name}.bin", 10000 * RECORD, digest)
                    for name, digest in {
                        "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
                        "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
                        "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
                        "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
                        "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
                        "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
                    }.items()
                ),
                mirrors=(
                    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
                ),
                unpacked="cifar-10-batches-bin",
            ),
        ),
        read_cifar10,
    ),
}


def read(
    known: Known, root: str | os.PathLike[str] | None = None, /, *, download: bool = True
) -> tuple[Split, Split]:
    """Find or download the files of a data set, check and read them.

    Parameters
    ----------
    known : Known
        Which data set.
    root : path, optional
        A folder to search before ``$XCNN_DATA`` and the cache.
    download : bool
        Whether missing files may be downloaded.

    Returns
    -------
    train : Split
        All images to learn from.
    test : Split
        All images that are held out.

    Raises
    ------
    FileError
        If a file cannot be had or is not what it must be.
    """
    paths = [(obtain(source, root, download=download), source) for source in known.sources]

    def files() -> Files:
        for path, source in paths:
            try:
                yield from contents(path, source)
            except FileError as error:
                msg = f"{error.what} (delete it to have it downloaded again)"
                raise FileError(msg, where=error.where) from error

    return known.parse(files())


def available(root: str | os.PathLike[str] | None = None, /) -> dict[str, Path | None]:
    """Say which data sets need no download; their files are not opened.

    Parameters
    ----------
    root : path, optional
        A folder to search before ``$XCNN_DATA`` and the cache.

    Returns
    -------
    dict
        Each name, with the folder that has the files (for ``digits``, the package), or None.

    Raises
    ------
    FileError
        If `root` or ``$XCNN_DATA`` is no folder.
    """
    places: dict[str, Path | None] = {}
    for name, known in SETS.items():
        if not known.sources:
            package = importlib.util.find_spec("sklearn")
            places[name] = Path(package.origin).parent if package and package.origin else None
        else:
            paths = [find(source, root) for source in known.sources]
            places[name] = paths[0].parent if paths[0] and all(paths) else None
    return places

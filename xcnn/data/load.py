"""The way to data: by name, or from a folder of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from xcnn.data.dataset import DataSet
from xcnn.data.folder import read_folder
from xcnn.data.sets import SETS, read
from xcnn.data.subset import pick_classes, pick_images
from xcnn.errors import OptionError, suggest
from xcnn.random import seed_key

__all__ = ["load"]


def load(
    name: str | os.PathLike[str] = "digits",
    /,
    *,
    classes: Sequence[str | int] | None = None,
    train_size: int | None = None,
    test_size: int | None = None,
    seed: int = 0,
    root: str | os.PathLike[str] | None = None,
    download: bool = True,
    size: tuple[int, int] | None = None,
    grey: bool | None = None,
) -> DataSet:
    """Load a data set.

    =============  =====================================================  =====  ======  ===========
    name           what                                                   train  test    image
    =============  =====================================================  =====  ======  ===========
    digits         handwritten digits that come with scikit-learn [1]_    1,348  449     1 x 8 x 8
    optdigits      the same, complete; other writers in the test [1]_     3,823  1,797   1 x 8 x 8
    mnist          handwritten digits [2]_                                60,000 10,000  1 x 28 x 28
    fashion-mnist  articles of clothing [3]_                              60,000 10,000  1 x 28 x 28
    cifar10        small photographs of ten kinds of things [4]_          50,000 10,000  3 x 32 x 32
    a path         a folder of images, a sub-folder for each class        -      -       as they are
    =============  =====================================================  =====  ======  ===========

    Files are searched in `root`, in ``$XCNN_DATA`` and in the user's cache (there in sub-folders mnist,
    fashion-mnist, cifar-10 and optdigits, packed or not), then downloaded to the cache; in every case each
    byte of their contents is checked by SHA-256. Scikit-learn's digits are the test images of optdigits, so a
    model trained on the first must not be tested on the second.

    Parameters
    ----------
    name : str or path
        A name of the table or a folder; see `read_folder`.
    classes : sequence of str or int, optional
        Names or labels of the classes to keep; they are labelled 0, 1, ... in this order.
    train_size, test_size : int, optional
        How many images to keep of each part, after `classes`: the same fraction of every class, at random.
    seed : int
        Decides which those are, from 0 to 2**64 - 1. What is held out for the test does not depend on it.
    root : path, optional
        A folder to search first.
    download : bool
        Whether missing files may be downloaded.
    size, grey : optional
        For a folder of images: see `read_images`.

    Returns
    -------
    DataSet
        With ``train.x`` and ``test.x`` (N, C, H, W), uint8, or float32 in [0, 1] for the digits of 8 x 8
        pixels, ``train.y`` and ``test.y`` (N,), int64, and ``classes``.

    Raises
    ------
    DataError
        If a folder of images cannot be made one array.
    FileError
        If a file is missing, truncated, altered or not what it must be, or no mirror has it.
    OptionError
        If a name is unknown or an option out of its range.

    References
    ----------
    .. [1] E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning
       Repository, 1998.
    .. [2] Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
       recognition", Proceedings of the IEEE 86(11), 1998.
    .. [3] H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
       learning algorithms", arXiv:1708.07747, 2017.
    .. [4] A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report,
       University of Toronto, 2009.

    Examples
    --------
    >>> data = load("digits", classes=["3", "8"], test_size=20)
    >>> data.test.x.shape, data.classes
    ((20, 1, 8, 8), ('3', '8'))
    """
    seed_key(seed)  # refuses a seed out of its range before anything is downloaded
    if not isinstance(name, (str, os.PathLike)):
        raise OptionError(f"name is {name!r}; needed the name of a data set or a path", where="load")
    known = SETS.get(name) if isinstance(name, str) else None
    if known is not None:
        if size is not None or grey is not None:
            msg = f"size and grey are for folders of images; {name!r} has its own"
            raise OptionError(msg, where="load")
        data = DataSet(str(name), *read(known, root, download=download), known.classes)
    elif isinstance(name, str) and not os.path.isdir(name) and os.path.basename(name) == name:
        msg = f"unknown data set {name!r}, and no folder of that name{suggest(name, SETS)}"
        raise OptionError(msg, where="load")
    else:
        data = read_folder(name, size=size, grey=grey)
    data = pick_classes(data, classes)
    train = pick_images(data.train, train_size, what="train_size", seed=seed)
    test = pick_images(data.test, test_size, what="test_size", seed=seed)
    return replace(data, train=train, test=test)

"""Arrays and labels of all sorts, given to the estimator; what scikit-learn refuses is its own to say."""

from __future__ import annotations

import traceback
import warnings
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import xcnn
from tests.fuzz.arrays import some
from tests.fuzz.arrays_held import drawn, held
from tests.fuzz.arrays_nonsense import images, labels
from xcnn.errors import DataError
from xcnn.layers import Dense

sklearn = pytest.importorskip("sklearn")

XCNN = str(Path(xcnn.__file__).parent)
LAYERS = ([Dense(3)], [{"type": "dense", "units": 3}], [Dense(1)], lambda shape, k: [Dense(k)])


def estimated(rng: Random) -> None:
    """Fit a classifier, and predict."""
    from xcnn.sklearn import CNNClassifier

    n = rng.choice((3, 4, 9))
    x, y, unseen = images(rng, (n, 4)), labels(rng, n, (3,)), images(rng, (2, 4))
    if rng.random() < 0.5:
        x = np.random.default_rng(rng.getrandbits(32)).normal(size=(n, 4))
    if rng.random() < 0.5:
        y = np.resize(rng.choice((np.asarray(["a", "b"]), np.asarray([1, 7, -3]))), n)
    options = some(
        rng,
        layers=LAYERS,
        input_shape=(None, (4,), (1, 2, 2)),
        optimizer=("sgd", "adam"),
        lr=(None, 0.1),
        loss=("cross_entropy", "binary_cross_entropy"),
        batch_size=(1, 32),
        dtype=(None, "float32", "float64"),
        random_state=(0, None),
    )

    if any(np.size(a) > 10**7 for a in (x, unseen) if isinstance(a, np.ndarray)):
        return  # scikit-learn adds up all numbers before it looks at the shape

    def run() -> Any:
        with warnings.catch_warnings(action="ignore"):
            fitted = CNNClassifier(**{"random_state": 0, "layers": LAYERS[3]} | options, epochs=1).fit(x, y)
            assert len(fitted.predict(unseen)) == len(fitted.predict_proba(unseen))

    held(lambda: _told(run), x, y, unseen)


def _told(run: Any) -> Any:
    """Return ``run()``; what scikit-learn refuses, at a call of xcnn's, becomes an error of xcnn's."""
    try:
        return run()
    except Exception as error:
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        last = max((i for i, file in enumerate(files) if file.startswith(XCNN)), default=len(files))
        if not any("/sklearn/" in file for file in files[last + 1 : last + 2]):
            raise
        raise DataError(str(error).partition("\n")[0][:500], where="scikit-learn") from error


ESTIMATOR = drawn("estimator", estimated, sample=150, whole=(1, 5_000))

"""Checkpoints: what stands in the state of a training, with its sum put right."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from functools import cache

import numpy as np

from tests.fuzz.harness import Target, folder
from tests.fuzz.models import packed, signed, unpacked
from tests.fuzz.mutate import mutate_bytes, mutate_json
from tests.nets import host, plain, stripes
from xcnn import callbacks
from xcnn.errors import NonFiniteError
from xcnn.schedules import ReduceOnPlateau
from xcnn.training import Checkpoint

X, Y = stripes(24)
WORDS = (
    "settings",
    "epoch",
    "batch",
    "trainer",
    "meter",
    "history",
    "callbacks",
    "$tensor",
    "slots",
    "t",
    "best",
)


def _fit(every: float, epochs: int = 2) -> None:
    """Go on with a training from what is in the folder."""
    model = plain(backend="numpy")
    hooks = [callbacks.EarlyStopping("loss", patience=1), callbacks.BlockLoss(10)]
    saved = Checkpoint(folder() / "run", every=every)
    options = {
        "epochs": epochs,
        "batch_size": 8,
        "schedule": ReduceOnPlateau(monitor="loss"),
        "callbacks": hooks,
    }
    history = model.fit(X, Y, **options, checkpoint=saved, resume=True, progress=False)
    assert all(isinstance(number, float) for numbers in history.values() for number in numbers)
    shapes = {name: parameter.shape for name, parameter in model.parameters().items()}
    assert {name: a.shape for name, a in host(model).items()} == shapes


@cache
def _checkpoints() -> list[bytes]:
    """Return checkpoints of each step of a training."""
    _clear()
    found = []
    for epochs, every in ((1, 0), (2, 0), (2, 3600)):
        _fit(every, epochs)
        found += [path.read_bytes() for path in sorted((folder() / "run").glob("*.xcnn"))]
    return found


def _clear() -> None:
    for path in (folder() / "run").glob("*"):
        path.unlink()


def _call(content: bytes) -> None:
    _clear()
    (folder() / "run").mkdir(exist_ok=True)
    (folder() / "run" / "checkpoint-000000001.xcnn").write_bytes(content)
    with np.errstate(all="ignore"), suppress(NonFiniteError):  # the weights may be anything
        _fit(3600)


def _mutate(data: bytes, rng: random.Random) -> bytes:
    """Break the state, or anything."""
    found = unpacked(data)
    told = found and found[0].get("__metadata__")
    if not isinstance(told, dict) or not isinstance(told.get("training"), str) or rng.random() < 0.15:
        return signed(mutate_bytes(data, rng))
    try:
        state = json.loads(told["training"])
    except (ValueError, RecursionError):
        return signed(mutate_bytes(data, rng))
    told["training"] = json.dumps(mutate_json(state, rng, WORDS))
    return signed(packed(*found))


CHECKPOINT = Target(
    "checkpoint",
    _call,
    _checkpoints,
    _mutate,
    signed,
    names=str(folder() / "run"),
    sample=600,
    whole=(1, 40_000),
)

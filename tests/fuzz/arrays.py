"""Arrays and labels of all sorts, given to what takes arrays: models, trainers, losses, loaders."""

from __future__ import annotations

import math
from functools import cache
from random import Random
from typing import Any

import numpy as np

import xcnn
from tests.fuzz.arrays_held import drawn, held
from tests.fuzz.arrays_nonsense import images, labels, option, usable
from xcnn import calibration, data, explain, losses, metrics, ops
from xcnn.data import augment
from xcnn.diagnosis import diagnose
from xcnn.layers import BatchNorm2D, Conv2D, Dense, Dropout, Flatten, MaxPool2D, Normalize, Softmax

NETWORKS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "image": (lambda: [Conv2D(2, 3, activation="relu"), MaxPool2D(2), Flatten(), Dense(3)], (1, 6, 6)),
    "normed": (
        lambda: [
            Normalize(0.1, 0.5),
            Conv2D(2, 3, bias=False),
            BatchNorm2D(),
            Dropout(0.2),
            Flatten(),
            Dense(2),
            Softmax(),
        ],
        (2, 5, 4),
    ),
    "rows": (lambda: [Dense(4, activation="tanh"), Dense(3)], (4,)),
    "single": (lambda: [Dense(1, activation="sigmoid")], (4,)),
    "pictures": (lambda: [Conv2D(2, 3, padding="same")], (2, 4, 4)),
}
LOSSES = tuple(losses.NAMES)
FUNCTIONS = (
    ops.cross_entropy,
    ops.cross_entropy_probabilities,
    ops.binary_cross_entropy,
    ops.binary_cross_entropy_probabilities,
    ops.mse,
    ops.mae,
    ops.huber,
)


@cache
def _built(name: str, backend: str) -> tuple[xcnn.Model, Any]:
    layers, shape = NETWORKS[name]
    model = xcnn.Model(layers(), shape, backend=backend)
    return model, model.state.arrays


def network(rng: Random, *names: str) -> xcnn.Model:
    """Return a small model as it was built, most often NumPy's."""
    known = [name for name in ("torch", "strict", "python") if name in usable()]
    backend = rng.choice(known) if known and rng.random() < 0.1 else "numpy"
    model, arrays = _built(rng.choice(names or tuple(NETWORKS)), backend)
    model.state.arrays, model.loss = arrays, None
    model.state.drop_gradient()
    if rng.random() < 0.3:
        loss = rng.choice(LOSSES)
        if losses.get(loss).link != "softmax" or model.output_shape != (1,):
            model.loss = losses.get(loss)
    return model


def some(rng: Random, **known: Any) -> dict[str, Any]:
    """Return some of the options, each now and then replaced by anything."""
    found = {}
    for name, values in known.items():
        if rng.random() < 0.4:
            value = option(rng) if rng.random() < 0.15 else rng.choice(values)
            found[name] = rng.choice(values) if callable(value) else value
    return found


def batch(rng: Random, model: xcnn.Model) -> tuple[Any, Any]:
    """Return inputs and labels, each right or wrong."""
    n = rng.choice((1, 2, 3, 4, 9))
    return images(rng, (n, *model.input_shape)), labels(rng, n, model.output_shape)


def fit(rng: Random) -> None:
    """Train for an epoch at most."""
    model = network(rng)
    x, y = batch(rng, model)
    options = some(
        rng,
        batch_size=(1, 2, 3, 64),
        optimizer=("sgd", "adam"),
        loss=LOSSES,
        validation=(None, 0.3),
        metrics=(None, "accuracy", ["mean_absolute_error"]),
        augment=(None, augment.RandomFlip()),
        shuffle=(True, False),
        seed=(0, 7),
        schedule=(None, "cosine"),
        callbacks=((),),
    )
    options["epochs"] = rng.choice((-1, 0.5, None, "2")) if rng.random() < 0.05 else rng.choice((0, 1, 1))
    given = [x, y]
    if rng.random() < 0.3:
        given += batch(rng, model)
        options["validation"] = tuple(given[2:])
    held(lambda: model.fit(x, y, progress=False, **options), *given, model=model, training=False)


def step(rng: Random) -> None:
    """Take one step."""
    model = network(rng)
    x, y = batch(rng, model)
    loss = rng.choice(LOSSES)
    trainer = xcnn.Trainer(model, loss=loss)
    t = trainer.t
    try:
        held(lambda: trainer.step(x, y), x, y, model=model)
    except xcnn.Error:
        assert trainer.t == t, "a refused batch counts as a step"
        raise


def predict(rng: Random) -> None:
    """Predict in one of the three ways."""
    model = network(rng)
    x, before = images(rng, (rng.choice((1, 2, 9)), *model.input_shape)), model.state.arrays
    run = getattr(model, rng.choice(("predict", "predict_proba", "predict_classes")))
    y = held(lambda: run(x, **some(rng, batch_size=(1, 2, 256))), x, model=model)
    assert model.state.arrays is before
    assert y.shape[0] == (len(x) if hasattr(x, "__len__") else x.shape[0])


def evaluate(rng: Random) -> None:
    """Evaluate."""
    model = network(rng)
    x, y = batch(rng, model)
    options = some(rng, batch_size=(1, 2, 256), loss=LOSSES, metrics=(None, "accuracy", ["top5_accuracy"]))
    found = held(lambda: model.evaluate(x, y, **options), x, y, model=model)
    assert math.isfinite(found["loss"])


def explained(rng: Random) -> None:
    """Explain a model, a layer, or cover parts of a picture."""
    model = network(rng)
    right = model.input_shape if rng.random() < 0.6 else (1, *model.input_shape)
    x, kind = images(rng, right), rng.randrange(3)
    if kind == 0:
        options = some(rng, label=(0, 1), pixel=((0, 0), (2, 3)), channel=(0, None))
        held(lambda: str(model.explain(x, **options)), x, model=model)
    elif kind == 1:
        held(lambda: str(model.layers[0].explain(x)), x, model=model)
    else:
        options = some(rng, size=(1, 2, 3), stride=(1, 2), value=(0.0, [0.5]), batch_size=(1, 256))
        held(lambda: explain.occlusion(model, x, **options), x, model=model)


def gradchecked(rng: Random) -> None:
    """Check gradients of an op, a layer, a loss, or a model."""
    kind, n = rng.randrange(4), rng.choice((1, 2))
    options = some(rng, tolerance=(1e-5, 1e-3), seed=(0, 1))
    options["directions"] = 1 if rng.random() < 0.9 else rng.choice((0, -1, None, 0.5, "1", (1,)))
    if kind == 0:
        x = images(rng, (n, 2, 4))
        held(lambda: xcnn.gradcheck(rng.choice((ops.relu, ops.tanh, ops.sigmoid)), x, **options), x)
    elif kind == 1:
        x = images(rng, (n, 1, 4, 4))
        layer = rng.choice((MaxPool2D(2), Conv2D(1, 2), Flatten(), BatchNorm2D(), Dense(2)))
        held(lambda: xcnn.gradcheck(layer, x, **options), x)
    elif kind == 2:
        z, y = images(rng, (n, 3)), labels(rng, n, (3,))
        held(lambda: xcnn.gradcheck(losses.get(rng.choice(LOSSES)), z, y, **options), z, y)
    else:
        model = network(rng, "rows", "single")
        given = batch(rng, model)[: rng.randint(1, 2)]
        held(lambda: xcnn.gradcheck(model, *given, **options), *given, model=model)


def lost(rng: Random) -> None:
    """Compute a loss: as a function of outputs and labels, as an object, or look at labels alone."""
    n, outputs = rng.choice((1, 2, 3)), rng.choice(((1,), (3,), (2, 2, 2)))
    z, y, kind = images(rng, (n, *outputs)), labels(rng, n, outputs), rng.randrange(3)
    if kind == 0:
        function = rng.choice(FUNCTIONS)
        options = {}
        if "cross_entropy" in function.name and "binary" not in function.name:
            options = some(rng, label_smoothing=(0.0, 0.1))
        elif function.name == "huber":
            options = some(rng, delta=(1.0, 0.5))
        loss, saved = held(lambda: function(z, y, **options), z, y)
        assert tuple(loss.shape) == ()
        assert tuple(saved.backward(1.0)[0].shape) == tuple(z.shape)
        return
    loss = losses.get(rng.choice(LOSSES))
    if rng.random() < 0.3:
        loss = losses.CrossEntropy(**some(rng, label_smoothing=(0.1, 0.0), class_weights=([1, 2, 3], None)))
    if rng.random() < 0.1:
        loss = losses.Huber(**some(rng, delta=(0.5, 2)))
    if kind == 1:
        held(lambda: loss(z, y, **some(rng, probabilities=(False, True))), z, y)
    else:
        model = network(rng)
        held(lambda: loss.accept(y, n, model.output_shape, model.backend, model.dtype), y)


def measured(rng: Random) -> None:
    """Compute a metric; measure labels of arrays that fit, as `fit` and `evaluate` have seen to."""
    n, outputs = rng.choice((1, 2, 3)), rng.choice(((1,), (3,), (7,)))
    z, y = images(rng, (n, *outputs)), labels(rng, n, outputs)
    metric = rng.choice((metrics.accuracy, metrics.top5_accuracy, metrics.mean_absolute_error))
    found = held(lambda: metric(z, y), z, y)
    assert tuple(found.shape) == ()


def loaded(rng: Random) -> None:
    """Serve batches of a loader."""
    n = rng.choice((1, 2, 5))
    x, y = images(rng, (n, 1, 4, 4)), labels(rng, n, (3,)) if rng.random() < 0.7 else None
    options = some(
        rng,
        batch_size=(1, 2, 64),
        shuffle=(True, False),
        seed=(0, 2**64 - 1),
        augment=(None, augment.RandomCrop(1)),
        prefetch=(None, 0, 1),
        drop_last=(False, True),
    )

    def served() -> None:
        loader = data.Loader(x, y, **options)
        rows = sum(part.shape[0] for part, _ in loader)
        assert rows == loader.images

    held(served, x, y)


def parted(rng: Random) -> None:
    """Split a data set, or take its statistics."""
    n = rng.choice((1, 2, 5, 9))
    x, y = images(rng, (n, 1, 4, 4)), labels(rng, n, (3,))
    if rng.random() < 0.3:
        held(lambda: data.channel_statistics(x, **some(rng, chunk=(1, 2, 1024))), x)
        return
    fraction = option(rng) if rng.random() < 0.2 else rng.choice((0.2, 0.5, 0.9))
    train, rest = held(lambda: data.split(x, y, fraction, **some(rng, seed=(0, 3))), x, y)
    assert train.x.shape[0] == train.y.shape[0]
    assert rest.x.shape[0] == rest.y.shape[0] > 0


def augmented(rng: Random) -> None:
    """Augment a batch."""
    n = rng.choice((1, 2, 3))
    x, index = images(rng, (n, 2, 5, 4)), np.arange(n)
    if rng.random() < 0.2:
        index = images(rng, (n,))
    kind, values = rng.choice(
        (
            (augment.RandomCrop, {"padding": (0, 1, 3)}),
            (augment.RandomFlip, {"horizontal": (True, False), "vertical": (True, False)}),
            (augment.RandomShift, {"pixels": (0.5, 2.0)}),
            (augment.RandomRotation, {"degrees": (10.0, 180)}),
            (augment.Cutout, {"size": (1, 2, 8)}),
        )
    )

    def run() -> Any:
        made = kind(**some(rng, **values))
        given = augment.Compose([made, augment.RandomFlip()]) if rng.random() < 0.2 else made
        return given(x, **({"seed": 0, "epoch": 0} | some(rng, seed=(0, 5), epoch=(0, 3))), index=index)

    assert tuple(held(run, x, index).shape) == tuple(x.shape)


def calibrated(rng: Random) -> None:
    """Measure and mend confidence."""
    n, kind = rng.choice((1, 3, 9)), rng.randrange(4)
    if kind == 3:
        model = network(rng, "image", "rows", "single", "normed")
        x, y = batch(rng, model)
        held(lambda: calibration.calibrate(model, x, y, **some(rng, batch_size=(1, 256))), x, y, model=model)
        return
    k = rng.choice((1, 3))
    y, z = labels(rng, n, (k,)), images(rng, (n, k))
    if kind == 0:
        assert math.isfinite(held(lambda: calibration.fit_temperature(z, y), z, y))
        return
    if rng.random() < 0.5:
        z = np.random.default_rng(rng.getrandbits(32)).dirichlet([1.0] * 3, n)
    function = (calibration.reliability_table, calibration.expected_calibration_error)[kind - 1]
    held(lambda: function(y, z, **some(rng, bins=(1, 15))), z, y)


def diagnosed(rng: Random) -> None:
    """Diagnose a model."""
    model = network(rng)
    x, y = batch(rng, model)
    given = (x, y) if rng.random() < 0.7 else (x,)
    held(lambda: str(diagnose(model, *given, **some(rng, batch_size=(1, 2, 256)))), *given, model=model)


@cache
def _linear() -> tuple[xcnn.Model, Any]:
    model = xcnn.Model([Conv2D(2, 3), BatchNorm2D(), Flatten(), Dense(2)], (1, 4, 4))
    return model, (model.state.arrays, xcnn.io.get_weights(model))


def weighed(rng: Random) -> None:
    """Load weights from a mapping."""
    model, (arrays, found) = _linear()
    model.state.arrays = arrays
    source: Any = dict(found)
    for _ in range(rng.randint(0, 2)):
        name = (
            rng.choice(list(source))
            if source and rng.random() < 0.8
            else rng.choice(("0.weight", "x", 3, ""))
        )
        kind = rng.randrange(4)
        if kind == 0:
            source.pop(name, None)
        elif kind == 1 and name in source and isinstance(source[name], np.ndarray):
            source[name] = np.resize(source[name], rng.choice(((2,), (2, 2), (1, 3, 3, 2), (), (0,))))
        else:
            source[name] = images(rng, tuple(np.shape(found.get(name, ()))))
    if rng.random() < 0.05:
        source = option(rng)
    if isinstance(source, str):
        return
    options = some(
        rng, convention=("torch", "keras", "xcnn"), strict=(True, False), names=(None, {"layers[0]": "0"})
    )
    held(lambda: xcnn.io.load_weights(model, source, **options), *_values(source), model=model)


def _values(source: Any) -> tuple[Any, ...]:
    return tuple(source.values()) if isinstance(source, dict) else ()


TARGETS = (
    FIT := drawn("fit", fit, sample=250, whole=(1, 8_000)),
    STEP := drawn("step", step, sample=250, whole=(1, 8_000)),
    PREDICT := drawn("predict", predict, sample=250, whole=(1, 10_000)),
    EVALUATE := drawn("evaluate", evaluate, sample=250, whole=(1, 8_000)),
    EXPLAIN := drawn("explain", explained, sample=100, whole=(1, 6_000)),
    GRADCHECK := drawn("gradcheck", gradchecked, sample=100, whole=(1, 5_000)),
    LOSS := drawn("loss", lost, sample=400, whole=(1, 8_000)),
    METRIC := drawn("metric", measured, sample=400, whole=(1, 8_000)),
    LOADER := drawn("loader", loaded, sample=300, whole=(1, 8_000)),
    SPLIT := drawn("split", parted, sample=300, whole=(1, 8_000)),
    AUGMENT := drawn("augment", augmented, sample=200, whole=(1, 8_000)),
    CALIBRATION := drawn("calibration", calibrated, sample=200, whole=(1, 6_000)),
    DIAGNOSIS := drawn("diagnosis", diagnosed, sample=100, whole=(1, 5_000)),
    WEIGHTS := drawn("weights", weighed, sample=200, whole=(1, 10_000)),
)

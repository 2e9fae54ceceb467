"""The public names and their signatures: what a program written against xcnn may rely on."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import pytest

import xcnn
from xcnn.layer import Layer

# In the order of the reference: everything that `import xcnn` promises.
NAMES = {
    "backends": [
        "Backend",
        "MemoryInfo",
        "available_backends",
        "backend_problems",
        "free_memory",
        "get_backend",
        "get_num_threads",
        "memory_info",
        "readable",
        "set_backend",
        "set_num_threads",
        "use_backend",
    ],
    "models": ["History", "Layer", "Model", "Pass", "Trainer", "diagnose", "gradcheck", "load"],
    "rooms": [
        "calibration",
        "callbacks",
        "data",
        "errors",
        "explain",
        "initializers",
        "io",
        "layers",
        "losses",
        "metrics",
        "ops",
        "optim",
        "plots",
        "schedules",
        "sklearn",
    ],
    "errors": [
        "BackendError",
        "ConfigError",
        "DTypeError",
        "DataError",
        "DeviceMismatchError",
        "Error",
        "FileError",
        "GradientError",
        "NonFiniteError",
        "OptionError",
        "OutOfMemoryError",
        "ShapeError",
    ],
}

ERRORS = {
    "BackendError": RuntimeError,
    "ConfigError": ValueError,
    "DTypeError": TypeError,
    "DataError": ValueError,
    "DeviceMismatchError": TypeError,
    "FileError": OSError,
    "GradientError": AssertionError,
    "NonFiniteError": ArithmeticError,
    "OptionError": ValueError,
    "OutOfMemoryError": MemoryError,
    "ShapeError": ValueError,
}

# Signatures without annotations; `...` stands for any default.
NONE = "((0, 0), (0, 0))"
WINDOW = f"stride=(1, 1), padding={NONE}, dilation=(1, 1), groups=1"
OPS = {
    "avg_pool2d": f"x, /, *, size=(2, 2), stride=(2, 2), padding={NONE}, ceil=False, count_include_pad=True",
    "batch_norm": "x, w, b, mean=None, var=None, /, *, eps=1e-5",
    "binary_cross_entropy": "z, labels, /",
    "binary_cross_entropy_probabilities": "p, labels, /",
    "conv2d": f"x, w, b=None, /, *, {WINDOW}",
    "conv2d_indices": f"x, w, b=None, /, *, {WINDOW}",
    "conv2d_loops": f"x, w, b=None, /, *, {WINDOW}",
    "conv_transpose2d": f"x, w, b=None, /, *, output_padding=(0, 0), {WINDOW}",
    "cross_entropy": "z, labels, class_weights=None, /, *, label_smoothing=0.0",
    "cross_entropy_probabilities": "p, labels, class_weights=None, /, *, label_smoothing=0.0",
    "dropout": "x, /, *, rate=0.5, seed=0, stream=(0, 0, 0)",
    "elu": "x, /, *, alpha=1.0",
    "gelu": "x, /, *, approximate='none'",
    "global_avg_pool2d": "x, /",
    "global_max_pool2d": "x, /",
    "group_norm": "x, w, b, /, *, groups, eps=1e-5",
    "huber": "y, target, /, *, delta=1.0",
    "layer_norm": "x, w, b, /, *, eps=1e-5",
    "leaky_relu": "x, /, *, slope=0.01",
    "linear": "x, w, b=None, /",
    "log_softmax": "x, /, *, axis=1",
    "mae": "y, target, /",
    "max_pool2d": f"x, /, *, size=(2, 2), stride=(2, 2), padding={NONE}, dilation=(1, 1), ceil=False",
    "mse": "y, target, /",
    "relu": "x, /",
    "sigmoid": "x, /",
    "silu": "x, /",
    "softmax": "x, /, *, axis=1",
    "standardize": "x, mean, std, /",
    "tanh": "x, /",
    "true_conv2d": f"x, w, b=None, /, *, {WINDOW}",
    "untied_bias": "x, b, /",
    "upsample2d": "x, /, *, factor=(2, 2)",
    "zero_pad2d": "x, /, *, padding",
}

CONV = "stride=1, padding=0, dilation=1, groups=1, bias=True, activation=None, init='he_normal'"
LAYERS = {
    "AvgPool2D": "size, *, stride=None, padding=0, ceil=False, count_include_pad=True",
    "BatchNorm2D": "*, momentum=0.1, eps=1e-5",
    "Concat": "*layers",
    "Conv2D": f"filters, kernel_size, *, {CONV}, op='conv2d'",
    "ConvTranspose2D": f"filters, kernel_size, *, output_padding=0, {CONV}",
    "Dense": "units, *, bias=True, activation=None, init=...",
    "Dropout": "rate=0.5",
    "ELU": "alpha=1.0",
    "Flatten": "",
    "GELU": "approximate='none'",
    "Gate": "body",
    "GlobalAvgPool2D": "",
    "GlobalMaxPool2D": "",
    "GroupNorm": "groups, *, eps=1e-5",
    "Identity": "",
    "LayerNorm": "*, eps=1e-5",
    "LeakyReLU": "slope=0.01",
    "LogSoftmax": "axis=1",
    "MaxPool2D": "size, *, stride=None, padding=0, ceil=False",
    "Normalize": "mean, std",
    "ReLU": "",
    "Reshape": "shape",
    "Sequential": "*layers",
    "SiLU": "",
    "Sigmoid": "",
    "Softmax": "axis=1",
    "Sum": "*layers",
    "Tanh": "",
    "UntiedBias": "",
    "UpSample2D": "factor=2",
    "ZeroPad2D": "padding",
}
EVERY_LAYER = "*, name=None, trainable=True, optimizer=None"

LOSSES = {
    "BinaryCrossEntropy": "",
    "CrossEntropy": "label_smoothing=0.0, class_weights=None",
    "Huber": "delta=1.0",
    "MeanAbsoluteError": "",
    "MeanSquaredError": "",
}

OPTIM = {
    "SGD": "lr=0.01, momentum=0.0, nesterov=False",
    "Adagrad": "lr=0.01, eps=1e-10",
    "Adam": "lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8",
    "AdamW": "lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8",
    "RMSprop": "lr=0.01, alpha=0.99, eps=1e-8",
}
EVERY_OPTIMIZER = "*, l1=0.0, l2=0.0, weight_decay=..., clip_value=None, clip_norm=None"

SCHEDULES = {
    "Constant": "",
    "Cosine": "floor=0.0",
    "Exponential": "rate",
    "OneCycle": "warmup=0.3, start=1 / 25, end=1e-4",
    "ReduceOnPlateau": "factor=0.1, patience=5, monitor='val_loss'",
    "Step": "every, factor=0.1",
    "Warmup": "epochs, then=None",
}

FUNCTIONS = {
    "available_backends": "",
    "backend_problems": "",
    "diagnose": "model, x, y=None, /",
    "free_memory": "backend=None, /",
    "get_backend": "name=None, /",
    "get_num_threads": "",
    "set_num_threads": "n, /",
    "gradcheck": "f, /, *arrays, seed=0",
    "load": "path, /, *, backend=None",
    "memory_info": "backend=None, /",
    "readable": "",
    "set_backend": "name, /",
    "use_backend": "name, /",
}


def _signature(text: str) -> inspect.Signature:
    return inspect.signature(eval(f"lambda {text}: None"))  # positional-only and keyword-only marks included


def _split(signature: inspect.Signature, *, method: bool = False) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional parameters in order, and the defaults of the keyword-only ones."""
    parameters = list(signature.parameters.values())[int(method) :]
    positional = [(p.name, p.kind, p.default) for p in parameters if p.kind is not p.KEYWORD_ONLY]
    return positional, {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _agree(found: Any, expected: Any) -> bool:
    return expected is ... or (type(found) is type(expected) and found == expected)


def _check(value: Any, expected: str, common: str = "", *, method: bool = False, more: bool = False) -> None:
    """Compare signatures; with `more`, keyword-only options beyond the expected ones are allowed."""
    signature = inspect.signature(value)
    if more and "**" not in expected:
        kept = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        signature = signature.replace(parameters=kept)
    positional, options = _split(signature, method=method)
    positional_expected, options_expected = _split(_signature(expected))
    options_expected |= _split(_signature(common))[1]
    assert [p[:2] for p in positional] == [p[:2] for p in positional_expected]
    assert all(_agree(p[2], q[2]) for p, q in zip(positional, positional_expected, strict=True))
    if more:
        assert all(default is not inspect.Parameter.empty for default in options.values())
        options = {name: options[name] for name in options_expected}
    assert options.keys() == options_expected.keys()
    wrong = [name for name in options if not _agree(options[name], options_expected[name])]
    assert not wrong, {name: (options[name], options_expected[name]) for name in wrong}


def _modules() -> list[str]:
    return [
        found.name
        for found in pkgutil.walk_packages(xcnn.__path__, "xcnn.")
        if not found.name.endswith("__main__")
    ]


def _subclasses(owner: type) -> list[type]:
    below = [found for child in owner.__subclasses__() for found in [child, *_subclasses(child)]]
    return [found for found in dict.fromkeys(below) if found.__module__.startswith("xcnn")]


for _name in _modules():
    importlib.import_module(_name)
LAYER_CLASSES = [Layer, *_subclasses(Layer)]


def test_public_names_are_these():
    assert sorted(xcnn.__all__) == sorted(name for names in NAMES.values() for name in names)


@pytest.mark.parametrize("name", ["xcnn", *_modules()])
def test_every_promised_name_exists(name):
    module = importlib.import_module(name)
    assert [public for public in module.__all__ if not hasattr(module, public)] == []


@pytest.mark.parametrize(("name", "builtin"), ERRORS.items())
def test_error_is_an_xcnn_error_and_a_builtin_one(name, builtin):
    error = getattr(xcnn, name)
    assert issubclass(error, xcnn.Error)
    assert issubclass(error, builtin)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_has_its_signature(name):
    _check(getattr(xcnn, name), FUNCTIONS[name], more=True)


def test_ops_are_these():
    assert {*xcnn.ops.__all__} == {"Op", "Saved", *OPS}


@pytest.mark.parametrize("name", OPS)
def test_op_has_its_signature(name):
    _check(getattr(xcnn.ops, name), OPS[name])


@pytest.mark.parametrize("name", OPS)
def test_op_takes_arrays_by_position_and_options_by_name(name):
    kinds = {p.kind for p in inspect.signature(getattr(xcnn.ops, name)).parameters.values()}
    assert kinds <= {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY}


def test_layers_are_these():
    assert {*xcnn.layers.__all__} == {"Layer", *LAYERS}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_has_its_signature(name):
    _check(getattr(xcnn.layers, name), LAYERS[name], EVERY_LAYER)


@pytest.mark.parametrize("layer", LAYER_CLASSES, ids=lambda layer: layer.__qualname__)
@pytest.mark.parametrize("method", ["build", "forward", "backward"])
def test_override_has_the_signature_of_the_layer(layer, method):
    found, expected = (
        [(p.name, p.kind, p.default) for p in inspect.signature(getattr(owner, method)).parameters.values()]
        for owner in (layer, Layer)
    )
    assert found == expected


def test_layer_contract_is_this():
    _check(Layer.build, "input_shape, make", method=True)
    _check(Layer.forward, "x, /, *, train=False, hold=None", method=True)
    _check(Layer.backward, "dy, saved, /, *, need_dx=True", method=True)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_has_its_signature(name):
    _check(getattr(xcnn.losses, name), LOSSES[name])


@pytest.mark.parametrize("name", OPTIM)
def test_optimizer_has_its_signature(name):
    _check(getattr(xcnn.optim, name), OPTIM[name], EVERY_OPTIMIZER)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_has_its_signature(name):
    _check(getattr(xcnn.schedules, name), SCHEDULES[name])


def test_model_has_its_signature():
    options = "seed=0, dtype='float32', precision='float32', backend=None, compile=True"
    _check(xcnn.Model, f"layers, input_shape, *, {options}", more=True)


MODEL_METHODS = {
    "copy": "*, dtype=None, backend=None, precision=None",
    "evaluate": "x, y, /, **options",
    "explain": "x, /, *, label=None, pixel=None, channel=None",
    "fit": "x, y=None, /, **options",
    "predict": "x, /",
    "predict_classes": "x, /",
    "predict_proba": "x, /",
    "save": "path, /",
    "summary": "",
    "to": "backend=None, *, dtype=None, precision=None",
}


@pytest.mark.parametrize("name", MODEL_METHODS)
def test_model_method_has_its_signature(name):
    _check(getattr(xcnn.Model, name), MODEL_METHODS[name], method=True, more=True)


def test_options_of_fit_and_evaluate_are_those_of_training():
    _check(
        xcnn.training.fit,
        "model, x, y=None, /, *, epochs=1, batch_size=64, optimizer='adam', loss='cross_entropy', "
        "schedule=None, validation=None, callbacks=(), metrics=None, augment=None, "
        "shuffle=True, seed=0, progress=None, checkpoint=None, resume=False",
    )
    _check(xcnn.training.evaluate, "model, x, y, /, *, loss=None, metrics=None, batch_size=256")


def test_occlusion_has_its_signature():
    _check(xcnn.explain.occlusion, "model, x, /, *, size=None, stride=None, value=None, batch_size=256")


def test_weights_go_in_and_out_with_these_signatures():
    options = "names=None, convention='torch'"
    _check(xcnn.io.load_weights, f"model, source, /, *, {options}, strict=True")
    _check(xcnn.io.get_weights, f"model, /, *, {options}")
    _check(xcnn.io.save_weights, f"model, path, /, *, {options}")


def test_trainer_has_its_signature():
    _check(xcnn.Trainer, "model, *, optimizer=..., loss=...", more=True)
    _check(xcnn.Trainer.step, "x, y, /", method=True)

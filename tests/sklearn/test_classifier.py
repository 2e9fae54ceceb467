from __future__ import annotations

import copy
import doctest
import io
import pickle
import subprocess
import sys
from dataclasses import dataclass

import cloudpickle
import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import xcnn
from tests.interpreter import environment
from xcnn import layers
from xcnn.sklearn import CNNClassifier

X, Y = load_digits(return_X_y=True)
X_TRAIN, X_TEST, Y_TRAIN, Y_TEST = train_test_split(X, Y, random_state=0)
DENSE = {"type": "Dense", "units": 10}
SPECS = [{"type": "Conv2D", "filters": 8, "kernel_size": 3, "activation": "relu"}, "Flatten", DENSE]


@dataclass
class Convolutions:
    """A convolutional network for rows of any length; unlike a function's, its repr is always the same."""

    filters: int

    def __call__(self, input_shape, n_classes):
        return [
            layers.Reshape((1, 1, *input_shape)),
            layers.Conv2D(self.filters, (1, 3), padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dropout(0.1),
            layers.Dense(n_classes),
        ]


class Doubled(layers.Layer):
    """A layer of one's own."""

    def build(self, input_shape, make):
        return input_shape

    def forward(self, x, /, *, train=False, hold=None):
        return x * 2.0, None

    def backward(self, dy, saved, /, *, need_dx=True):
        return dy * 2.0


@xcnn.ops.Op
def halved_conv2d(x, w, b=None, /, *, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    """An op of one's own."""
    y, saved = xcnn.ops.conv2d(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return y / 2.0, saved


@halved_conv2d.gradient
def halved_conv2d_gradient(dy, values, needs):
    return values.backward(dy / 2.0, needs)


class Softened(xcnn.losses.CrossEntropy):
    """A loss of one's own, with another link."""

    name = "softened"
    link = "sigmoid"


def _images(**options):
    return CNNClassifier(**{"input_shape": (1, 8, 8), "epochs": 2, "random_state": 0} | options)


@parametrize_with_checks(
    [
        CNNClassifier(),
        CNNClassifier(Convolutions(16), optimizer="nesterov", lr=0.05),
        CNNClassifier(backend="strict", epochs=5, lr=0.01),
    ]
)
def test_it_keeps_the_conventions_of_scikit_learn(estimator, check):
    check(estimator)


def test_no_check_is_left_out():
    program = (
        "from sklearn.utils.estimator_checks import check_estimator\n"
        "from xcnn.sklearn import CNNClassifier\n"
        "found = check_estimator(CNNClassifier(), on_skip=None, on_fail=None)\n"
        "print([(c['check_name'], c['status'], c['exception']) for c in found if c['status'] != 'passed'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        env=environment(SCIPY_ARRAY_API="1"),  # without it, one of them is skipped
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize(("shape", "least"), [((1, 8, 8), 0.98), (None, 0.97)])
def test_defaults_learn_digits(shape, least):
    classifier = CNNClassifier(input_shape=shape, random_state=0).fit(X_TRAIN, Y_TRAIN)
    assert classifier.score(X_TEST, Y_TEST) >= least
    assert classifier.n_iter_ == len(classifier.history_["loss"]) == 20


def test_the_example_is_right():
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(CNNClassifier):
        runner.run(example)
    assert (runner.failures, runner.tries > 0) == (0, True)


def test_the_same_random_state_gives_the_same_network():
    first, second, other = (_images(random_state=seed).fit(X, Y).predict_proba(X) for seed in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_fit_changes_no_parameter():
    classifier = _images(layers=[layers.Flatten(), layers.Dense(10)])
    before = {name: repr(value) for name, value in classifier.get_params().items()}
    first = classifier.fit(X, Y).predict_proba(X)
    assert {name: repr(value) for name, value in classifier.get_params().items()} == before
    assert np.array_equal(classifier.fit(X, Y).predict_proba(X), first)


@pytest.mark.parametrize(
    "network",
    [None, SPECS, [layers.Flatten(), layers.Dense(10)], Convolutions(16)],
    ids=["default", "descriptions", "layers", "function"],
)
def test_a_clone_learns_the_same(network):
    classifier = CNNClassifier(network, epochs=1, random_state=0)
    if network is SPECS:
        classifier.set_params(input_shape=(1, 8, 8))
    twin = clone(classifier.fit(X, Y))
    assert not hasattr(twin, "model_")
    assert np.array_equal(twin.fit(X, Y).predict_proba(X), classifier.predict_proba(X))


def test_images_are_rows():
    images = X.reshape(-1, 1, 8, 8)
    from_rows, from_images = _images().fit(X, Y), _images(input_shape=None).fit(images, Y)
    assert from_images.input_shape_ == (1, 8, 8)
    assert from_images.n_features_in_ == 64
    assert np.array_equal(from_rows.predict_proba(X), from_images.predict_proba(images))
    assert np.array_equal(from_rows.predict_proba(images), from_images.predict_proba(X))


@pytest.mark.parametrize("kind", ["uint8", "int64", "float32", "float64"])
def test_numbers_are_taken_as_they_are(kind):
    expected = _images(dtype="float32").fit(X, Y).predict_proba(X)
    assert np.array_equal(_images(dtype="float32").fit(X.astype(kind), Y).predict_proba(X), expected)


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("float64", {}, "float64"),
        ("float32", {}, "float32"),
        ("uint8", {}, "float32"),
        ("float64", {"dtype": "float32"}, "float32"),
        ("float32", {"dtype": "float64"}, "float64"),
        ("float64", {"precision": "bfloat16"}, "float32"),
    ],
)
def test_the_network_has_the_dtype_of_its_data_or_the_one_asked_for(kind, options, expected):
    classifier = _images(layers=["Flatten", DENSE], **options).fit(X.astype(kind), Y)
    assert classifier.model_.dtype == expected
    assert classifier.predict_proba(X).dtype == np.float64


def test_labels_may_be_strings():
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    classifier = _images(epochs=5).fit(X_TRAIN, names[Y_TRAIN])
    assert classifier.classes_.tolist() == sorted(names)
    assert classifier.model_.classes == tuple(sorted(names))
    assert classifier.score(X_TEST, names[Y_TEST]) > 0.9


def test_probabilities_add_up_and_predict_takes_the_largest():
    classifier = _images().fit(X, Y)
    p = classifier.predict_proba(X)
    assert p.dtype == np.float64
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert np.array_equal(classifier.predict(X), classifier.classes_[p.argmax(axis=1)])


def test_two_classes_may_have_one_output():
    x, y = X[Y < 2], np.where(Y[Y < 2] == 0, "no", "yes")
    network = ["Flatten", {"type": "Dense", "units": 1}]
    classifier = _images(layers=network, loss="binary_cross_entropy", lr=0.01, epochs=10).fit(x, y)
    assert classifier.predict_proba(x).shape == (len(x), 2)
    assert classifier.score(x, y) > 0.95


def test_it_stands_in_a_pipeline():
    pipeline = make_pipeline(MinMaxScaler(), _images(layers=SPECS, epochs=5, lr=0.01))
    assert pipeline.fit(X_TRAIN, Y_TRAIN).score(X_TEST, Y_TEST) > 0.9


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_it_is_searched(n_jobs):
    grid = {"lr": [1e-5, 1e-2], "layers": [SPECS, ["Flatten", DENSE]]}
    search = GridSearchCV(_images(), grid, cv=2, n_jobs=n_jobs).fit(X[:400], Y[:400])
    assert search.best_params_["lr"] == 1e-2
    assert search.best_score_ > 0.7
    assert search.predict(X).shape == Y.shape


def test_processes_score_as_one_does():
    alone, together = (cross_val_score(_images(), X[:400], Y[:400], cv=2, n_jobs=n) for n in (1, 2))
    assert alone.tolist() == together.tolist()


def test_it_is_calibrated():
    classifier = CalibratedClassifierCV(_images(epochs=5), method="isotonic", cv=2)
    classifier.fit(X_TRAIN, Y_TRAIN)
    assert classifier.score(X_TEST, Y_TEST) > 0.9
    assert log_loss(Y_TEST, classifier.predict_proba(X_TEST)) < 1


def _through_joblib(classifier):
    file = io.BytesIO()
    joblib.dump(classifier, file)
    file.seek(0)
    return joblib.load(file)


WAYS = {
    "pickle": lambda c: pickle.loads(pickle.dumps(c)),
    "cloudpickle": lambda c: pickle.loads(cloudpickle.dumps(c)),
    "joblib": _through_joblib,
    "copy": copy.deepcopy,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("network", [None, Convolutions(16)], ids=["default", "function"])
def test_it_comes_back_from_a_pickle(way, network):
    classifier = _images(layers=network, input_shape=None).fit(X, Y)
    twin = WAYS[way](classifier)
    assert np.array_equal(twin.predict_proba(X), classifier.predict_proba(X))
    assert twin.history_ == classifier.history_
    assert twin.model_.classes == classifier.model_.classes
    assert np.array_equal(twin.fit(X, Y).predict_proba(X), classifier.predict_proba(X))


def test_a_pickle_holds_the_bytes_of_a_model_file(tmp_path):
    classifier = _images().fit(X, Y)
    content = classifier.__getstate__()["model_"][0]
    (tmp_path / "model.xcnn").write_bytes(content)
    model = xcnn.load(tmp_path / "model.xcnn")
    images = X.reshape(-1, 1, 8, 8)
    assert np.array_equal(model.predict_proba(images), classifier.model_.predict_proba(images))
    assert isinstance(classifier.model_, xcnn.Model)


def test_an_unfitted_one_comes_back_from_a_pickle():
    twin = pickle.loads(pickle.dumps(_images(layers=SPECS)))
    with pytest.raises(NotFittedError):
        twin.predict(X)
    assert twin.fit(X, Y).model_.output_shape == (10,)


def test_what_is_ones_own_comes_back_from_a_pickle():
    network = [layers.Conv2D(4, 3, op=halved_conv2d), Doubled(), layers.Flatten(), layers.Dense(10)]
    classifier = _images(layers=network, loss=Softened()).fit(X, Y)
    twin = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(twin.predict_proba(X), classifier.predict_proba(X))


def test_a_network_on_another_backend_comes_back_there():
    twin = pickle.loads(pickle.dumps(_images(backend="strict", layers=["Flatten", DENSE]).fit(X, Y)))
    assert twin.model_.backend.name == "strict"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["Flatten", {"type": "Dense", "units": 7}]}, "gives 7 outputs; needed 10"),
        ({"layers": ["Flaten"]}, r"layers\[0\]"),
        ({"layers": 3}, "needed a list of layers"),
        ({"layers": [layers.Flatten(), "Flatten"]}, r"layers\[0\]"),
        ({"input_shape": (1, 8, 9)}, r"shape \(64,\); needed \(1, 8, 9\), or rows of 72 numbers"),
        ({"input_shape": (1, -8, -8)}, "input_shape"),
        ({"loss": "mse"}, "loss is 'mse'; needed one of classes"),
        ({"loss": "hinge"}, "unknown loss"),
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"lr": -1.0}, "lr"),
        ({"epochs": -1}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"dtype": "float16"}, "needed 'float32' or 'float64'"),
        ({"precision": "int4"}, "precision"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(xcnn.Error, match=message) as caught:
        _images(**options).fit(X, Y)
    assert isinstance(caught.value, ValueError)


def test_an_unknown_backend_is_refused():
    with pytest.raises(xcnn.BackendError):
        _images(backend="abacus").fit(X, Y)


def test_images_of_another_shape_are_refused():
    classifier = _images().fit(X, Y)
    with pytest.raises(xcnn.ShapeError, match=r"inputs of shape \(8, 8, 1\); needed \(1, 8, 8\)"):
        classifier.predict(X.reshape(-1, 8, 8, 1))
    with pytest.raises(ValueError, match="64 features"):
        classifier.predict(X[:, :63])


def test_one_class_is_refused():
    with pytest.raises(xcnn.DataError, match="one class"):
        _images().fit(X, np.zeros(len(X)))


def test_sparse_arrays_are_refused():
    with pytest.raises(TypeError, match="dense"):
        _images().fit(sparse.csr_array(X), Y)


def test_inputs_that_give_nan_are_refused():
    classifier = _images(layers=["Flatten", DENSE], dtype="float32").fit(X, Y)
    with np.errstate(all="ignore"), pytest.raises(xcnn.DataError, match="a probability is NaN"):
        classifier.predict(np.full((1, 64), 3e38))


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import sys, xcnn; print('sklearn' in sys.modules)", "False"),
        ("import xcnn; print(xcnn.sklearn.CNNClassifier.__name__)", "CNNClassifier"),
        (
            "import sys; sys.modules['sklearn'] = None\n"
            "import xcnn\n"
            "try: xcnn.sklearn\n"
            "except xcnn.Error as error: print('pip install \"xcnn[app]\"' in str(error))",
            "True",
        ),
    ],
    ids=["import xcnn", "xcnn.sklearn", "without scikit-learn"],
)
def test_scikit_learn_is_imported_when_it_is_asked_for(program, expected):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == expected, done.stderr


def test_what_has_a_strange_shape_is_refused():
    class Lying:
        shape = "abc"

    with pytest.raises((ValueError, TypeError)):
        CNNClassifier(epochs=1).fit(Lying(), [0, 1, 0])

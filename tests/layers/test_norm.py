"""Normalisation layers: running statistics, evaluation, PyTorch's results."""

from __future__ import annotations

import numpy as np
import pytest

import xcnn
from tests.ops.checks import says
from tests.tolerances import assert_close
from xcnn.errors import DeviceMismatchError, OptionError, ShapeError
from xcnn.layers import BatchNorm2D, Dense, GroupNorm, LayerNorm, Normalize

RNG = np.random.default_rng(0)
BATCHES = [3 * RNG.normal(size=(n, 4, 3, 5)) + 2 for n in (6, 2, 1, 7)]


@pytest.mark.parametrize(("momentum", "eps"), [(0.1, 1e-5), (0.7, 1e-2), (1.0, 1e-5), (0.0, 1e-5)])
@pytest.mark.parametrize("images", [True, False])
def test_batch_norm_is_pytorchs_over_several_steps(momentum, eps, images, backend, torch):
    batches = BATCHES if images else [b.reshape(-1, 4) for b in BATCHES]
    layer = BatchNorm2D(momentum=momentum, eps=eps)
    model = xcnn.Model([layer], batches[0].shape[1:], backend=backend, dtype="float64")
    kind = torch.nn.BatchNorm2d if images else torch.nn.BatchNorm1d
    twin = kind(4, eps=eps, momentum=momentum, dtype=torch.float64)
    w, b = RNG.normal(size=(2, 4))
    layer.w.value, layer.b.value = w, b
    with torch.no_grad():
        twin.weight[:], twin.bias[:] = torch.tensor(w), torch.tensor(b)

    def numpy(a):
        return backend.to_numpy(a)

    for x in batches:
        tensor = torch.tensor(x, requires_grad=True)
        twin.train()
        twin.zero_grad()
        want = twin(tensor)
        y, saved = model.forward(model.accept(x), train=True)
        assert_close(numpy(y), want.detach().numpy(), "float64")
        dy = RNG.normal(size=x.shape)
        want.backward(torch.tensor(dy))
        dx = model.backward(backend.asarray(dy), saved)
        assert_close(numpy(dx), tensor.grad.numpy(), "float64", source=dy)
        assert_close(numpy(layer.w.gradient), twin.weight.grad.numpy(), "float64", source=dy)
        assert_close(numpy(layer.b.gradient), twin.bias.grad.numpy(), "float64", source=dy)
        model.state.take_gradient()
        assert_close(numpy(layer.mean.value), twin.running_mean.numpy(), "float64")
        assert_close(numpy(layer.var.value), twin.running_var.numpy(), "float64")
        twin.eval()
        assert_close(model.predict(x), twin(torch.tensor(x)).detach().numpy(), "float64")


def test_batch_norm_starts_with_mean_0_and_variance_1():
    layer = BatchNorm2D()
    model = xcnn.Model([layer], (4, 3, 5))
    np.testing.assert_array_equal(layer.mean.value, 0)
    np.testing.assert_array_equal(layer.var.value, 1)
    np.testing.assert_allclose(model.predict(BATCHES[0]), BATCHES[0] / np.sqrt(1 + 1e-5), rtol=1e-6)


def test_evaluation_leaves_the_running_statistics(backend):
    layer = BatchNorm2D()
    model = xcnn.Model([layer], (4, 3, 5), backend=backend)
    before = model.state.arrays
    model.predict(BATCHES[0])
    model.forward(model.accept(BATCHES[0]), hold=True)
    assert model.state.arrays is before


def test_evaluation_treats_images_one_by_one():
    model = xcnn.Model([BatchNorm2D()], (4, 3, 5))
    model.forward(model.accept(BATCHES[0]), train=True)
    together = model.predict(BATCHES[3])
    for i, image in enumerate(BATCHES[3]):
        np.testing.assert_allclose(model.predict(image[None])[0], together[i], rtol=1e-6)


def test_one_row_of_features_does_not_make_the_statistics_infinite():
    layer = BatchNorm2D()
    model = xcnn.Model([layer], (4,))
    model.forward(model.accept(np.ones((1, 4))), train=True)
    assert np.isfinite(layer.var.value).all()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_norm_is_pytorchs(groups, backend, torch):
    x = BATCHES[0]
    layer = GroupNorm(groups)
    model = xcnn.Model([layer], x.shape[1:], backend=backend, dtype="float64")
    _compare(model, layer, torch.nn.GroupNorm(groups, 4, dtype=torch.float64), x, torch)


def test_layer_norm_is_pytorchs(backend, torch):
    x = BATCHES[0]
    layer = LayerNorm()
    model = xcnn.Model([layer], x.shape[1:], backend=backend, dtype="float64")
    _compare(model, layer, torch.nn.LayerNorm(x.shape[1:], dtype=torch.float64), x, torch)


def _compare(model, layer, twin, x, torch):
    """Compare outputs and all gradients."""
    backend = model.backend
    w, b = RNG.normal(size=(2, *layer.w.shape))
    layer.w.value, layer.b.value = w, b
    with torch.no_grad():
        twin.weight[:], twin.bias[:] = torch.tensor(w), torch.tensor(b)
    tensor = torch.tensor(x, requires_grad=True)
    want = twin(tensor)
    y, saved = model.forward(model.accept(x), train=True)
    assert_close(backend.to_numpy(y), want.detach().numpy(), "float64")
    dy = RNG.normal(size=x.shape)
    want.backward(torch.tensor(dy))
    dx = model.backward(backend.asarray(dy), saved)
    assert_close(backend.to_numpy(dx), tensor.grad.numpy(), "float64", source=dy)
    assert_close(backend.to_numpy(layer.w.gradient), twin.weight.grad.numpy(), "float64", source=dy)
    assert_close(backend.to_numpy(layer.b.gradient), twin.bias.grad.numpy(), "float64", source=dy)


def test_scales_and_shifts_are_no_weights():
    model = xcnn.Model([BatchNorm2D(), GroupNorm(2), LayerNorm()], (4, 3, 5))
    assert not any(p.is_weight for p in model.parameters().values())


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(
        ShapeError, match=says("GroupNorm (layers[0]): groups is 3; needed a divisor of the 4 channels")
    ):
        xcnn.Model([GroupNorm(3)], (4, 3, 5))


@pytest.mark.parametrize("layer", [BatchNorm2D(), GroupNorm(1)])
def test_inputs_that_are_neither_images_nor_features_are_refused(layer):
    with pytest.raises(ShapeError, match=says("(layers[0])", "(N, 4, 3)", "(N, C, H, W) or (N, C)")):
        xcnn.Model([layer], (4, 3))


@pytest.mark.parametrize(
    "make", [BatchNorm2D, lambda eps: GroupNorm(1, eps=eps), lambda eps: LayerNorm(eps=eps)]
)
@pytest.mark.parametrize("eps", [0.0, -1e-5, float("nan")])
def test_an_eps_that_is_not_positive_is_refused(make, eps):
    with pytest.raises(OptionError, match=says("Norm", f"eps is {eps}; needed a positive number")):
        make(eps=eps)


@pytest.mark.parametrize("momentum", [-0.1, 1.1, 7, float("nan")])
def test_a_momentum_that_is_no_fraction_is_refused(momentum):
    with pytest.raises(OptionError, match=says("BatchNorm2D: momentum is", "needed 0 <= momentum <= 1")):
        BatchNorm2D(momentum=momentum)


# Normalize


def test_normalize_standardises_by_channel(backend):
    x = BATCHES[0]
    mean, std = [1.0, 2.0, 3.0, 4.0], [1.0, 0.5, 2.0, 4.0]
    model = xcnn.Model([Normalize(mean, std)], x.shape[1:], backend=backend, dtype="float64")
    want = (x - np.reshape(mean, (4, 1, 1))) / np.reshape(std, (4, 1, 1))
    np.testing.assert_allclose(model.predict(x), want, rtol=1e-12)
    np.testing.assert_allclose(
        xcnn.Model([Normalize(0.5, 2.0)], (4,), backend=backend, dtype="float64").predict(x[:, :, 0, 0]),
        (x[:, :, 0, 0] - 0.5) / 2,
    )


def test_normalize_takes_arrays_of_statistics():
    layer = Normalize(np.array([1.0, 2.0]), np.array([3.0, 4.0], "float32"))
    assert (layer.mean, layer.std) == ((1.0, 2.0), (3.0, 4.0))
    assert (Normalize(np.float32(1), 2).mean, Normalize(np.array(1.0), np.array(2.0)).std) == (1.0, 2.0)


def test_statistics_of_the_wrong_number_are_refused():
    with pytest.raises(
        ShapeError, match=says("Normalize (layers[0]): mean has 3 values; needed 4, one per channel")
    ):
        xcnn.Model([Normalize([1, 2, 3], 1.0)], (4, 3, 5))


def test_a_standard_deviation_of_0_counts_as_1():
    x = np.array([[3.0, 4.0]])
    model = xcnn.Model([Normalize([3.0, 3.0], [0.0, 2.0])], (2,), dtype="float64")
    np.testing.assert_array_equal(model.predict(x), [[0.0, 0.5]])


@pytest.mark.parametrize("std", [-1.0, [1.0, -0.5], float("nan"), float("inf")])
def test_a_standard_deviation_that_is_none_is_refused(std):
    with pytest.raises(OptionError, match=says("Normalize: std is", "needed no negative numbers")):
        Normalize(0.0, std)


@pytest.mark.parametrize("mean", [float("nan"), [0.0, float("inf")]])
def test_a_mean_that_is_not_finite_is_refused(mean):
    with pytest.raises(OptionError, match=says("Normalize: mean is", "needed", "finite")):
        Normalize(mean, 1.0)


def test_normalize_refuses_arrays_of_another_backend():
    from tests.conftest import USABLE

    for other in set(USABLE) - {"numpy"}:
        model = xcnn.Model([Normalize(0.5, 0.5), Dense(2)], (3,))
        there = xcnn.get_backend(other).asarray(np.ones((2, 3)), "float32")
        with pytest.raises(
            DeviceMismatchError, match=says("Normalize (layers[0])", other, "numpy", f'model.to("{other}")')
        ):
            model.forward(there)

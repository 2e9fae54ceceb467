"""ONNX's operators, said in xcnn's: what a node computes, `xcnn.ops`, layers and optimizers compute.

What stands here is how ONNX says it: attributes, axes moved to where xcnn has them, rows that a loss ignores.
A case that xcnn has not raises `Lacking` here, or an error there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.conformance.onnx_graph import LAYOUT, OPERATORS, Lacking, Node, register, run
from tests.conformance.onnx_images import lines
from xcnn import layers, ops, optim
from xcnn.build import Make
from xcnn.layer import Layer

__all__ = ["LAYOUT", "OPERATORS", "Lacking", "run"]


def apply(layer: Layer, x: Any, train: Any = False) -> Any:
    """Build a layer for x and return what it makes of it."""
    Make(0).build(layer, tuple(x.shape[1:]))
    return layer.forward(x, train=train)[0]


class Given(Layer):
    """An array given beforehand, as a branch of `Sum`, `Concat` and `Gate`."""

    def __init__(self, a: Any) -> None:
        super().__init__()
        self.a = a

    def build(self, input_shape: Any, make: Any) -> Any:
        """Return the shape of an image of the array."""
        return tuple(self.a.shape[1:])

    def forward(self, x: Any, /, *, train: Any = False, hold: Any = None) -> Any:
        """Return the array."""
        return self.a, ()

    def backward(self, dy: Any, saved: Any, /, *, need_dx: bool = True) -> Any:
        """Return no gradient."""
        return None


@register(OPERATORS, "Gemm")
def gemm(node: Node, a: Any, b: Any, c: Any = None) -> Any:
    """Multiply matrices: alpha and beta scale w and the bias; a matrix of biases is added by `Sum`."""
    x = a.T if node.get("transA", 0) else a
    w = (b if node.get("transB", 0) else b.T) * node.get("alpha", 1.0)
    if c is None or node.get("beta", 1.0) == 0:
        return ops.linear(x, w)[0]
    c = c * node.get("beta", 1.0)
    if c.ndim == 2 and c.shape[0] > 1:
        y = ops.linear(x, w)[0]
        return apply(layers.Sum(Given(y), Given(c)), x)
    bias = node.xp.broadcast_to(node.xp.reshape(c, (-1,)), (w.shape[0],))
    return ops.linear(x, w, bias)[0]


@register(OPERATORS, "MatMul")
def matmul(node: Node, a: Any, b: Any) -> Any:
    """Multiply matrices."""
    if a.ndim != 2 or b.ndim != 2:
        raise Lacking(f"MatMul of {a.ndim} and {b.ndim} axes")
    return ops.linear(a, b.T)[0]


# Elementwise


@register(OPERATORS, "Relu", "Sigmoid", "Tanh")
def activation(node: Node, x: Any) -> Any:
    """Apply an activation without options."""
    return {"Relu": ops.relu, "Sigmoid": ops.sigmoid, "Tanh": ops.tanh}[node.kind](x)[0]


@register(OPERATORS, "LeakyRelu")
def leaky_relu(node: Node, x: Any) -> Any:
    """Rectify, leaking."""
    return ops.leaky_relu(x, slope=node.get("alpha", 0.01))[0]


@register(OPERATORS, "PRelu")
def prelu(node: Node, x: Any, slope: Any) -> Any:
    """Rectify, leaking by one slope for all."""
    if math.prod(slope.shape) != 1:
        raise Lacking("PRelu with several slopes")
    return ops.leaky_relu(x, slope=float(node.host(slope).item()))[0]


@register(OPERATORS, "Elu")
def elu(node: Node, x: Any) -> Any:
    """Apply the exponential linear unit."""
    return ops.elu(x, alpha=node.get("alpha", 1.0))[0]


@register(OPERATORS, "Gelu")
def gelu(node: Node, x: Any) -> Any:
    """Apply the Gaussian error linear unit."""
    return ops.gelu(x, approximate=node.get("approximate", "none"))[0]


@register(OPERATORS, "Swish")
def swish(node: Node, x: Any) -> Any:
    """Apply the sigmoid linear unit."""
    if node.get("alpha", 1.0) != 1:
        raise Lacking("Swish with alpha")
    return ops.silu(x)[0]


@register(OPERATORS, "Softmax", "LogSoftmax")
def softmax(node: Node, x: Any) -> Any:
    """Turn logits into (logarithms of) probabilities; before opset 13 over all axes from `axis` on."""
    axis = node.get("axis", 1 if node.opset < 13 else -1)
    if node.opset < 13 and axis % x.ndim != x.ndim - 1:
        raise Lacking(f"{node.kind} over several axes")
    return (ops.softmax if node.kind == "Softmax" else ops.log_softmax)(x, axis=axis)[0]


@register(OPERATORS, "Dropout")
def dropout(node: Node, x: Any, ratio: Any = None, training: Any = None) -> Any:
    """Drop nothing; what is drawn at random in training, each framework draws in its own way."""
    rate = node.get("ratio", 0.5) if ratio is None else float(node.host(ratio))
    train = training is not None and bool(node.host(training))
    if train and rate:
        raise Lacking("Dropout by the random numbers of NumPy")
    y = apply(layers.Dropout(rate), x, train)
    mask = ops.dropout(x, rate=0.0)[1].backward(node.full(tuple(x.shape), 1.0, x))[0]
    return y, mask != 0


@register(OPERATORS, "Add", "Sum")
def add(node: Node, x: Any, *others: Any) -> Any:
    """Add arrays of one shape, by `Sum`."""
    node.floating(x, *others)
    if any(a.shape != x.shape for a in others):
        raise Lacking(f"{node.kind} of different shapes")
    return apply(layers.Sum(layers.Identity(), *map(Given, others)), x)


@register(OPERATORS, "Mul")
def multiply(node: Node, x: Any, other: Any) -> Any:
    """Multiply arrays of one shape, by `Gate`."""
    node.floating(x, other)
    if x.shape != other.shape:
        raise Lacking("Mul of different shapes")
    return apply(layers.Gate(Given(other)), x)


# Shapes


@register(OPERATORS, "Concat")
def concat(node: Node, *arrays: Any) -> Any:
    """Stack channels."""
    if arrays[0].ndim < 2 or node.get("axis") % arrays[0].ndim != 1:
        raise Lacking(f"Concat along axis {node.get('axis')}")
    return apply(layers.Concat(*map(Given, arrays)), arrays[0])


@register(OPERATORS, "Flatten")
def flatten(node: Node, x: Any) -> Any:
    """Lay images out as features."""
    if x.ndim > 1 and node.get("axis", 1) % x.ndim != 1:
        raise Lacking(f"Flatten from axis {node.get('axis')}")
    return apply(layers.Flatten(), x)


@register(OPERATORS, "Reshape")
def reshape(node: Node, x: Any, shape: Any) -> Any:
    """Give images another shape."""
    node.floating(x)
    wanted = [x.shape[i] if e == 0 else int(e) for i, e in enumerate(node.host(shape))]
    if 0 in x.shape or node.get("allowzero", 0):
        raise Lacking("Reshape of empty arrays")
    known = -math.prod(wanted)
    wanted = [math.prod(x.shape) // known if e == -1 else e for e in wanted]
    if wanted[0] != x.shape[0]:
        raise Lacking("Reshape of the batch")
    return apply(layers.Reshape(tuple(wanted[1:])), x)


# Norms


@register(OPERATORS, "BatchNormalization")
@lines
def batch_norm(node: Node, x: Any, w: Any, b: Any, mean: Any, var: Any) -> Any:
    """Standardise channels; ONNX's running variance keeps the biased one, which the op returns."""
    eps = node.get("epsilon", 1e-5)
    if x.ndim not in (2, 4):
        raise Lacking(f"BatchNormalization of {x.ndim} axes")
    if not node.get("training_mode", 0):
        return ops.batch_norm(x, w, b, mean, var, eps=eps)[0][0]
    (y, now, spread), _ = ops.batch_norm(x, w, b, eps=eps)
    kept = node.get("momentum", 0.9)
    return y, kept * mean + (1 - kept) * now, kept * var + (1 - kept) * spread


@register(OPERATORS, "GroupNormalization")
def group_norm(node: Node, x: Any, w: Any, b: Any) -> Any:
    """Standardise groups of channels."""
    return ops.group_norm(x, w, b, groups=node.get("num_groups"), eps=node.get("epsilon", 1e-5))[0]


@register(OPERATORS, "InstanceNormalization")
def instance_norm(node: Node, x: Any, w: Any, b: Any) -> Any:
    """Standardise each channel of each image: groups of one channel."""
    return ops.group_norm(x, w, b, groups=x.shape[1], eps=node.get("epsilon", 1e-5))[0]


@register(OPERATORS, "LayerNormalization")
def layer_norm(node: Node, x: Any, w: Any, b: Any) -> Any:
    """Standardise the last axes; mean and 1/sqrt(var + eps) are `batch_norm`'s, those axes its batch."""
    eps, axis = node.get("epsilon", 1e-5), node.get("axis", -1) % x.ndim
    shape, lead = tuple(x.shape), tuple(x.shape[:axis])
    y = ops.layer_norm(node.xp.reshape(x, (1, *shape)), w, b, eps=eps)[0]
    rows = node.xp.reshape(x, (math.prod(lead), -1)).T
    one, zero = (node.full((rows.shape[1],), value, x) for value in (1.0, 0.0))
    (_, mean, var), _ = ops.batch_norm(rows, one, zero, eps=eps)
    ones = node.xp.reshape(one, (1, -1))
    (scale, _, _), _ = ops.batch_norm(ones, one, zero, zero, var, eps=eps)
    kept = (*lead, *[1] * (x.ndim - axis))
    return node.xp.reshape(y, shape), node.xp.reshape(mean, kept), node.xp.reshape(scale, kept)


# Losses


@register(OPERATORS, "SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss")
def loss(node: Node, z: Any, labels: Any, weights: Any = None) -> Any:
    """Take the cross-entropy of rows (N, K), their mean: a sum by N-fold targets, none row by row."""
    xp, k = node.xp, z.shape[1]
    log_p = ops.log_softmax(z, axis=1)[0] if node.outputs > 1 else None
    entropy = ops.cross_entropy
    if node.kind == "NegativeLogLikelihoodLoss":
        entropy, z = ops.cross_entropy_probabilities, xp.exp(z)
    rows = xp.reshape(xp.permute_dims(z, (0, *range(2, z.ndim), 1)), (-1, k))
    names = node.host(labels).reshape(-1)
    kept = np.flatnonzero(names != node.get("ignore_index", k))
    rows, names = xp.take(rows, node.backend.asarray(kept), axis=0), names[kept]
    reduction = node.get("reduction", "mean")
    if reduction == "mean":
        return entropy(rows, node.backend.asarray(names), weights)[0], log_p
    scale = np.ones(k, np.float32) if weights is None else node.host(weights)
    targets = np.eye(k, dtype=np.float32)[names] * scale[names, None]  # w_k t_k
    if reduction == "sum":
        return entropy(rows, node.backend.asarray(targets * np.float32(len(names))))[0], log_p
    y = np.zeros(math.prod(labels.shape), np.float32)
    for i, at in enumerate(kept):
        y[at] = node.host(entropy(rows[i : i + 1, :], node.backend.asarray(targets[i : i + 1]))[0])
    return node.backend.asarray(y.reshape(labels.shape)), log_p


# Optimizers


@register(OPERATORS, "Adagrad", "Adam", "Momentum")
def update(node: Node, rate: Any, step: Any, *arrays: Any) -> Any:
    """Make the first step (T = 0) of an optimizer on each array; ONNX's norm coefficient is an L2 penalty."""
    lr, t = float(node.host(rate)), int(node.host(step))
    if t or node.get("norm_coefficient_post", 0.0):
        raise Lacking(f"{node.kind} at step {t}, or with a penalty after the step")
    options = {"l2": node.get("norm_coefficient", 0.0)}
    alpha, beta, eps = node.get("alpha", 0.9), node.get("beta", 0.999), node.get("epsilon", 1e-6)
    optimizer: optim.Optimizer
    scalars: tuple[float, ...] = (lr,)
    if node.kind == "Adagrad":
        optimizer = optim.Adagrad(lr, eps=eps, **options)
    elif node.kind == "Adam":  # at T = 0 ONNX corrects nothing
        optimizer, scalars = optim.Adam(lr, alpha, beta, eps=eps, **options), (lr, 1.0, 1.0)
    else:
        optimizer = optim.SGD(lr, alpha, nesterov=node.get("mode") == "nesterov", **options)
    count = len(arrays) // (2 + optimizer.slots)
    groups = [arrays[i::count] for i in range(count)]
    new = [optimizer.apply(w, dw, tuple(slots), scalars, True) for w, dw, *slots in groups]
    return (*(w for w, _ in new), *(slots[i] for i in range(optimizer.slots) for _, slots in new))

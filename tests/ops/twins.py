"""The same ops in PyTorch: one function for each, under the op's own name, on tensors.

Where PyTorch is narrower (padding alike on both sides, at most half a window), images are padded before,
or cropped after.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

tanh, relu, silu, sigmoid = torch.tanh, F.relu, F.silu, torch.sigmoid
mse, mae = F.mse_loss, F.l1_loss


def _surround(x: Any, padding: Any, value: float = 0.0) -> Any:
    (top, bottom), (left, right) = padding
    return F.pad(x, (left, right, top, bottom), value=value)


def conv2d(x, w, b, *, stride, padding, dilation, groups):
    """F.conv2d of the padded x."""
    return F.conv2d(_surround(x, padding), w, b, stride=stride, dilation=dilation, groups=groups)


conv2d_loops = conv2d_indices = conv2d


def true_conv2d(x, w, b, **options):
    """F.conv2d with the kernels rotated."""
    return conv2d(x, torch.flip(w, (2, 3)), b, **options)


def untied_bias(x, b):
    """By hand: PyTorch has no such layer."""
    return x + b


def conv_transpose2d(x, w, b, *, stride, padding, output_padding, dilation, groups):
    """F.conv_transpose2d without padding, then cropped."""
    y = F.conv_transpose2d(
        x, w, b, stride=stride, output_padding=output_padding, dilation=dilation, groups=groups
    )
    (top, bottom), (left, right) = padding
    return y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right]


def _starting_inside(y: Any, image: tuple[int, int], stride: Any, padding: Any) -> Any:
    """Drop windows that start after the image: PyTorch saw its padding as part of it."""
    rows, columns = ((h + p[0] - 1) // s + 1 for h, s, p in zip(image, stride, padding, strict=True))
    return y[:, :, :rows, :columns]


def max_pool2d(x, *, size, stride, padding, dilation, ceil):
    """F.max_pool2d of x surrounded by minus infinity."""
    padded = _surround(x, padding, -float("inf"))
    y = F.max_pool2d(padded, size, stride, dilation=dilation, ceil_mode=ceil)
    return _starting_inside(y, x.shape[2:], stride, padding)


def avg_pool2d(x, *, size, stride, padding, ceil, count_include_pad):
    """F.avg_pool2d of the padded x; divided by that of a padded image of ones if padding is not counted."""
    pool = {"kernel_size": size, "stride": stride, "ceil_mode": ceil}
    y = F.avg_pool2d(_surround(x, padding), **pool)
    if not count_include_pad:
        y = y / F.avg_pool2d(_surround(torch.ones_like(x), padding), **pool)
    return _starting_inside(y, x.shape[2:], stride, padding)


def global_avg_pool2d(x):
    """F.adaptive_avg_pool2d to one pixel."""
    return F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0]


def global_max_pool2d(x):
    """F.adaptive_max_pool2d to one pixel."""
    return F.adaptive_max_pool2d(x, 1)[:, :, 0, 0]


def zero_pad2d(x, *, padding):
    """F.pad."""
    return _surround(x, padding)


def upsample2d(x, *, factor):
    """F.interpolate by the nearest pixel."""
    return F.interpolate(x, scale_factor=factor, mode="nearest")


linear = F.linear


def batch_norm(x, w, b, mean, var, *, eps):
    """F.batch_norm, in training where no statistics are given."""
    return F.batch_norm(x, mean, var, w, b, training=mean is None, eps=eps)


def standardize(x, mean, std):
    """By hand: torchvision's Normalize is no part of PyTorch."""
    shape = (1, -1, *[1] * (x.ndim - 2))
    return (x - mean.reshape(shape)) / std.reshape(shape)


def group_norm(x, w, b, *, groups, eps):
    """F.group_norm."""
    return F.group_norm(x, groups, w, b, eps)


def layer_norm(x, w, b, *, eps):
    """F.layer_norm."""
    return F.layer_norm(x, w.shape, w, b, eps)


def leaky_relu(x, *, slope):
    """F.leaky_relu."""
    return F.leaky_relu(x, slope)


elu, gelu = F.elu, F.gelu


def softmax(x, *, axis):
    """F.softmax."""
    return F.softmax(x, axis)


def log_softmax(x, *, axis):
    """F.log_softmax."""
    return F.log_softmax(x, axis)


def cross_entropy(z, labels, class_weights, *, label_smoothing):
    """F.cross_entropy; its mean over floating labels divides by N, so that weights are applied here."""
    if labels.ndim == 1 or class_weights is None:
        return F.cross_entropy(z, labels, class_weights, label_smoothing=label_smoothing)
    total = F.cross_entropy(z, labels, class_weights, label_smoothing=label_smoothing, reduction="sum")
    return total / torch.sum(class_weights * labels)


def cross_entropy_probabilities(p, labels, class_weights, *, label_smoothing):
    """F.nll_loss of the logarithm, with the labels smoothed here."""
    classes = p.shape[1]
    one_hot = F.one_hot(labels, classes).to(p.dtype) if labels.ndim == 1 else labels
    weights = torch.ones(classes, dtype=p.dtype) if class_weights is None else class_weights
    smooth = one_hot * (1 - label_smoothing) + label_smoothing / classes
    return -torch.sum(weights * smooth * torch.log(p)) / torch.sum(weights * one_hot)


def _targets(z: Any, labels: Any) -> Any:
    if z.numel() == labels.numel():
        return labels.reshape(z.shape).to(z.dtype)
    return F.one_hot(labels, z.shape[1]).to(z.dtype) if labels.ndim == 1 else labels


def binary_cross_entropy(z, labels):
    """F.binary_cross_entropy_with_logits."""
    return F.binary_cross_entropy_with_logits(z, _targets(z, labels))


def binary_cross_entropy_probabilities(p, labels):
    """F.binary_cross_entropy."""
    return F.binary_cross_entropy(p, _targets(p, labels))


def huber(y, target, *, delta):
    """F.huber_loss."""
    return F.huber_loss(y, target, delta=delta)

"""Forward passes written for reading: plain loops in NumPy float64, one for each op, under the op's own name.

Nothing here is shared with xcnn. Loops run over filters, pixels and windows; all images go together.
"""

from __future__ import annotations

import math

import numpy as np

NONE = ((0, 0), (0, 0))


def pad(x, padding, value=0.0):
    """Surround each image by rows and columns of `value`."""
    (top, bottom), (left, right) = padding
    n, c, h, w = x.shape
    y = np.full((n, c, top + h + bottom, left + w + right), value)
    y[:, :, top : top + h, left : left + w] = x
    return y


def count(length, size, stride, dilation=1, before=0, after=0, ceil=False):
    """Return how many windows fit along one axis; with `ceil`, also a last one that sticks out.

    Windows that stick out must still start inside the input or the padding before it.
    """
    reach = dilation * (size - 1) + 1
    windows = 0
    start = 0  # in the padded input
    while start + reach <= before + length + after:
        windows, start = windows + 1, start + stride
    covered = start - stride + reach == before + length + after
    if ceil and not covered and start < before + length:
        windows += 1
    return windows


# Windows


def conv2d(x, w, b=None, /, *, stride=(1, 1), padding=NONE, dilation=(1, 1), groups=1):
    """y[n,f,i,j] = b[f] + sum_ckl w[f,c,k,l] x[n, c of f's group, i s + k d, j s + l d] on the padded x."""
    filters, channels, kh, kw = w.shape
    oh = count(x.shape[2], kh, stride[0], dilation[0], *padding[0])
    ow = count(x.shape[3], kw, stride[1], dilation[1], *padding[1])
    x = pad(x, padding)
    y = np.zeros((x.shape[0], filters, oh, ow))
    for f in range(filters):
        group = f // (filters // groups)
        own = x[:, group * channels : (group + 1) * channels]
        for i in range(oh):
            for j in range(ow):
                rows = [i * stride[0] + k * dilation[0] for k in range(kh)]
                columns = [j * stride[1] + k * dilation[1] for k in range(kw)]
                window = own[:, :, rows, :][:, :, :, columns]
                y[:, f, i, j] = np.sum(window * w[f], axis=(1, 2, 3)) + (0 if b is None else b[f])
    return y


conv2d_loops = conv2d_indices = conv2d


def true_conv2d(x, w, b=None, /, *, stride=(1, 1), padding=NONE, dilation=(1, 1), groups=1):
    """y[n,f,i,j] = b[f] + sum_ckl w[f,c,k,l] x[n, c, i s + down - k d, j s + right - l d] on the padded x."""
    filters, channels, kh, kw = w.shape
    oh = count(x.shape[2], kh, stride[0], dilation[0], *padding[0])
    ow = count(x.shape[3], kw, stride[1], dilation[1], *padding[1])
    down, right = dilation[0] * (kh - 1), dilation[1] * (kw - 1)
    x = pad(x, padding)
    y = np.zeros((x.shape[0], filters, oh, ow))
    for f, i, j in np.ndindex(filters, oh, ow):
        first = f // (filters // groups) * channels
        for c, k, m in np.ndindex(channels, kh, kw):
            row, column = i * stride[0] + down - k * dilation[0], j * stride[1] + right - m * dilation[1]
            y[:, f, i, j] += w[f, c, k, m] * x[:, first + c, row, column]
        y[:, f, i, j] += 0 if b is None else b[f]
    return y


def untied_bias(x, b, /):
    """y[n,c,i,j] = x[n,c,i,j] + b[c,i,j]."""
    y = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(x.shape):
        y[n, c, i, j] = x[n, c, i, j] + b[c, i, j]
    return y


def conv_transpose2d(
    x, w, b=None, /, *, stride=(1, 1), padding=NONE, output_padding=(0, 0), dilation=(1, 1), groups=1
):
    """Stamp x[n,c,i,j] w[c,f] on y at (i s, j s), sum the stamps, cut the padding off, add b."""
    n, channels, h, width = x.shape
    _, filters, kh, kw = w.shape  # filters of one group
    full = [
        (extent - 1) * s + d * (k - 1) + 1 + extra
        for extent, s, d, k, extra in zip((h, width), stride, dilation, (kh, kw), output_padding, strict=True)
    ]
    y = np.zeros((n, filters * groups, *full))
    for c in range(channels):
        group = c // (channels // groups)
        for f in range(filters):
            for i in range(h):
                for j in range(width):
                    for k in range(kh):
                        for m in range(kw):
                            row, column = i * stride[0] + k * dilation[0], j * stride[1] + m * dilation[1]
                            y[:, group * filters + f, row, column] += x[:, c, i, j] * w[c, f, k, m]
    (top, bottom), (left, right) = padding
    y = y[:, :, top : full[0] - bottom, left : full[1] - right]
    return y if b is None else y + b[:, None, None]


def max_pool2d(x, /, *, size=(2, 2), stride=(2, 2), padding=NONE, dilation=(1, 1), ceil=False):
    """y[n,c,i,j] = the largest pixel of the window at (i s, j s) that lies inside the image."""
    n, c, h, w = x.shape
    oh = count(h, size[0], stride[0], dilation[0], *padding[0], ceil)
    ow = count(w, size[1], stride[1], dilation[1], *padding[1], ceil)
    y = np.zeros((n, c, oh, ow))
    for i in range(oh):
        for j in range(ow):
            rows = [i * stride[0] + k * dilation[0] - padding[0][0] for k in range(size[0])]
            columns = [j * stride[1] + k * dilation[1] - padding[1][0] for k in range(size[1])]
            inside = [x[:, :, r, q] for r in rows for q in columns if 0 <= r < h and 0 <= q < w]
            y[:, :, i, j] = np.max(inside, axis=0)
    return y


def avg_pool2d(x, /, *, size=(2, 2), stride=(2, 2), padding=NONE, ceil=False, count_include_pad=True):
    """y[n,c,i,j] = sum of the window / pixels of it inside the image, or inside image and padding."""
    n, c, h, w = x.shape
    (top, bottom), (left, right) = padding
    oh = count(h, size[0], stride[0], 1, top, bottom, ceil)
    ow = count(w, size[1], stride[1], 1, left, right, ceil)
    y = np.zeros((n, c, oh, ow))
    for i in range(oh):
        for j in range(ow):
            rows = range(i * stride[0] - top, i * stride[0] - top + size[0])
            columns = range(j * stride[1] - left, j * stride[1] - left + size[1])
            inside = [x[:, :, r, q] for r in rows for q in columns if 0 <= r < h and 0 <= q < w]
            padded = [(r, q) for r in rows for q in columns if r < h + bottom and q < w + right]
            y[:, :, i, j] = np.sum(inside, axis=0) / len(padded if count_include_pad else inside)
    return y


def global_avg_pool2d(x, /):
    """y[n,c] = mean of channel c of image n."""
    return np.array([[np.mean(channel) for channel in image] for image in x])


def global_max_pool2d(x, /):
    """y[n,c] = largest pixel of channel c of image n."""
    return np.array([[np.max(channel) for channel in image] for image in x])


def zero_pad2d(x, /, *, padding):
    """y = x in the middle of zeros."""
    return pad(x, padding)


def upsample2d(x, /, *, factor):
    """y[n,c,i,j] = x[n, c, floor(i / rows), floor(j / columns)]."""
    n, c, h, w = x.shape
    y = np.zeros((n, c, h * factor[0], w * factor[1]))
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            y[:, :, i, j] = x[:, :, i // factor[0], j // factor[1]]
    return y


# Linear maps and normalisation


def linear(x, w, b=None, /):
    """y[n,u] = b[u] + sum_f w[u,f] x[n,f]."""
    y = np.zeros((x.shape[0], w.shape[0]))
    for n in range(x.shape[0]):
        for u in range(w.shape[0]):
            y[n, u] = np.sum(w[u] * x[n]) + (0 if b is None else b[u])
    return y


def batch_norm(x, w, b, mean=None, var=None, /, *, eps=1e-5):
    """y[:,c] = w[c] (x[:,c] - mean[c]) / sqrt(var[c] + eps) + b[c]; also mean and var."""
    y = np.zeros(x.shape)
    if mean is None:
        mean = np.array([np.mean(x[:, c]) for c in range(x.shape[1])])
        var = np.array([np.mean((x[:, c] - mean[c]) ** 2) for c in range(x.shape[1])])
    for c in range(x.shape[1]):
        y[:, c] = w[c] * (x[:, c] - mean[c]) / np.sqrt(var[c] + eps) + b[c]
    return y, mean, var


def standardize(x, mean, std, /):
    """y[:,c] = (x[:,c] - mean[c]) / std[c]."""
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        y[:, c] = (x[:, c] - mean[c]) / std[c]
    return y


def group_norm(x, w, b, /, *, groups, eps=1e-5):
    """Normalise each image over each group of neighbouring channels; then scale and shift each channel."""
    y = np.zeros(x.shape)
    size = x.shape[1] // groups
    for n in range(x.shape[0]):
        for g in range(groups):
            part = x[n, g * size : (g + 1) * size]
            y[n, g * size : (g + 1) * size] = (part - np.mean(part)) / np.sqrt(np.var(part) + eps)
        for c in range(x.shape[1]):
            y[n, c] = w[c] * y[n, c] + b[c]
    return y


def layer_norm(x, w, b, /, *, eps=1e-5):
    """Normalise over the last axes, those of w; then scale and shift each element."""
    y = np.zeros(x.shape)
    for n in np.ndindex(x.shape[: x.ndim - w.ndim]):
        y[n] = w * (x[n] - np.mean(x[n])) / np.sqrt(np.var(x[n]) + eps) + b
    return y


# Activations


def _each(f, x):
    """Apply f, a function of one number, to every element."""
    y = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        y[i] = f(float(x[i]))
    return y


def relu(x, /):
    """y = x where positive, else 0."""
    return _each(lambda v: v if v > 0 else 0.0, x)


def leaky_relu(x, /, *, slope=0.01):
    """y = x where positive, else slope x."""
    return _each(lambda v: v if v > 0 else slope * v, x)


def elu(x, /, *, alpha=1.0):
    """y = x where positive, else alpha (exp(x) - 1)."""
    return _each(lambda v: v if v > 0 else alpha * math.expm1(v), x)


def gelu(x, /, *, approximate="none"):
    """y = x Phi(x), Phi the normal distribution function, or its approximation by tanh."""
    if approximate == "none":
        return _each(lambda v: v * 0.5 * math.erfc(-v / math.sqrt(2)), x)
    return _each(lambda v: v * 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))), x)


def sigmoid(x, /):
    """y = 1 / (1 + exp(-x))."""
    return _each(lambda v: 1 / (1 + math.exp(-v)) if v > -700 else 0.0, x)


def silu(x, /):
    """y = x sigmoid(x)."""
    return x * sigmoid(x)


def tanh(x, /):
    """y = tanh(x)."""
    return _each(math.tanh, x)


def softmax(x, /, *, axis=1):
    """y_k = exp(x_k) / sum_j exp(x_j) along the axis."""
    return np.exp(log_softmax(x, axis=axis))


def log_softmax(x, /, *, axis=1):
    """y_k = x_k - log sum_j exp(x_j) along the axis."""

    def of_row(row):
        top = max(row)
        return row - top - math.log(sum(math.exp(v - top) for v in row))

    return np.apply_along_axis(of_row, axis, x)


# Losses


def _one_hot(labels, classes):
    """Return labels (N, K) from labels (N,) or (N, K)."""
    if labels.ndim == 2:
        return labels
    target = np.zeros((len(labels), classes))
    for n, label in enumerate(labels):
        target[n, int(label)] = 1
    return target


def _weighted_mean(log_p, labels, class_weights, label_smoothing):
    """Return sum_nk w_k t'_nk (-log p_nk) / sum_nk w_k t_nk, with t' = (1 - eps) t + eps / K."""
    classes = log_p.shape[1]
    weights = np.ones(classes) if class_weights is None else class_weights
    target = _one_hot(labels, classes)
    loss = total = 0.0
    for n in range(log_p.shape[0]):
        for k in range(classes):
            smoothed = (1 - label_smoothing) * target[n, k] + label_smoothing / classes
            loss -= weights[k] * smoothed * log_p[n, k]
            total += weights[k] * target[n, k]
    return np.array(loss / total)


def _log(p):
    """Return log(max(p, smallest normal number)), in float64."""
    return np.log(np.maximum(p, np.finfo(np.float64).tiny))


def cross_entropy(z, labels, class_weights=None, /, *, label_smoothing=0.0):
    """Mean cross entropy of softmax(z) and the labels."""
    return _weighted_mean(log_softmax(z, axis=1), labels, class_weights, label_smoothing)


def cross_entropy_probabilities(p, labels, class_weights=None, /, *, label_smoothing=0.0):
    """Mean cross entropy of p and the labels."""
    return _weighted_mean(_log(p), labels, class_weights, label_smoothing)


def _binary_targets(z, labels):
    """Return a target for each element of z."""
    if z.size == labels.size:
        return np.reshape(labels, z.shape).astype(np.float64)
    return _one_hot(labels, z.shape[1])


def binary_cross_entropy(z, labels, /):
    """Mean over all elements of log(1 + exp(z)) - t z."""
    target = _binary_targets(z, labels)
    terms = [
        max(z[i], 0.0) + math.log1p(math.exp(-abs(z[i]))) - target[i] * z[i] for i in np.ndindex(z.shape)
    ]
    return np.array(sum(terms) / len(terms))


def binary_cross_entropy_probabilities(p, labels, /):
    """Mean over all elements of -t log p - (1 - t) log(1 - p)."""
    target = _binary_targets(p, labels)
    return np.array(np.mean(-target * _log(p) - (1 - target) * _log(1 - p)))


def mse(y, target, /):
    """Mean of (y - target)^2."""
    return np.array(sum((a - b) ** 2 for a, b in zip(y.flat, target.flat, strict=True)) / y.size)


def mae(y, target, /):
    """Mean of |y - target|."""
    return np.array(sum(abs(a - b) for a, b in zip(y.flat, target.flat, strict=True)) / y.size)


def huber(y, target, /, *, delta=1.0):
    """Mean of d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = y - target."""
    total = 0.0
    for a, b in zip(y.flat, target.flat, strict=True):
        d = abs(a - b)
        total += d * d / 2 if d <= delta else delta * (d - delta / 2)
    return np.array(total / y.size)


# Dropout


def philox(counter, key):
    """Return four 32-bit words: Philox4x32-10 (Salmon et al. 2011, section 3.3), on Python integers."""
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (q >> 32) ^ b ^ k0, q & 0xFFFFFFFF, (p >> 32) ^ d ^ k1, p & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def dropout(x, /, *, rate, seed, stream):
    """y = x / (1 - rate) where a random word is below 2^32 (1 - rate), else 0; a counter gives four words."""
    y = np.zeros(x.size)
    for k, value in enumerate(x.flat):
        word = philox((k // 4, *stream), (seed % 2**32, seed // 2**32))[k % 4]
        y[k] = value / (1 - rate) if word < (1 - rate) * 2**32 else 0.0
    return np.reshape(y, x.shape)

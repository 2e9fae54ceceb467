"""The mathematics: readable pairs of forward and backward."""

from xcnn.ops.activation import elu, gelu, leaky_relu, relu, sigmoid, silu, tanh
from xcnn.ops.bias import untied_bias
from xcnn.ops.conv import conv2d, conv_transpose2d, true_conv2d
from xcnn.ops.conv_indices import conv2d_indices
from xcnn.ops.conv_loops import conv2d_loops
from xcnn.ops.dropout import dropout
from xcnn.ops.linear import linear
from xcnn.ops.loss import (
    binary_cross_entropy,
    binary_cross_entropy_probabilities,
    cross_entropy,
    cross_entropy_probabilities,
)
from xcnn.ops.norm import batch_norm, group_norm, layer_norm, standardize
from xcnn.ops.op import Op, Saved
from xcnn.ops.pool import avg_pool2d, global_avg_pool2d, global_max_pool2d, max_pool2d
from xcnn.ops.regression import huber, mae, mse
from xcnn.ops.shape import upsample2d, zero_pad2d
from xcnn.ops.softmax import log_softmax, softmax

__all__ = [
    "Op",
    "Saved",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_probabilities",
    "conv2d",
    "conv2d_indices",
    "conv2d_loops",
    "conv_transpose2d",
    "cross_entropy",
    "cross_entropy_probabilities",
    "dropout",
    "elu",
    "gelu",
    "global_avg_pool2d",
    "global_max_pool2d",
    "group_norm",
    "huber",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mae",
    "max_pool2d",
    "mse",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "standardize",
    "tanh",
    "true_conv2d",
    "untied_bias",
    "upsample2d",
    "zero_pad2d",
]

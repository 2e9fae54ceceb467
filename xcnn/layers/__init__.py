"""Layers: thin, over `xcnn.ops`."""

from xcnn.layer import Layer
from xcnn.layers.activation import (
    ELU,
    GELU,
    Identity,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from xcnn.layers.bias import UntiedBias
from xcnn.layers.combine import Concat, Gate, Sequential, Sum
from xcnn.layers.conv import Conv2D, ConvTranspose2D
from xcnn.layers.dropout import Dropout
from xcnn.layers.linear import Dense
from xcnn.layers.norm import BatchNorm2D, GroupNorm, LayerNorm, Normalize
from xcnn.layers.pool import AvgPool2D, GlobalAvgPool2D, GlobalMaxPool2D, MaxPool2D
from xcnn.layers.shape import Flatten, Reshape, UpSample2D, ZeroPad2D

__all__ = [
    "ELU",
    "GELU",
    "AvgPool2D",
    "BatchNorm2D",
    "Concat",
    "Conv2D",
    "ConvTranspose2D",
    "Dense",
    "Dropout",
    "Flatten",
    "Gate",
    "GlobalAvgPool2D",
    "GlobalMaxPool2D",
    "GroupNorm",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LogSoftmax",
    "MaxPool2D",
    "Normalize",
    "ReLU",
    "Reshape",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Sum",
    "Tanh",
    "UntiedBias",
    "UpSample2D",
    "ZeroPad2D",
]

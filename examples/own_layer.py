"""A layer of your own: a pair of functions, a thin layer over it, and the check that they belong together.

python examples/own_layer.py --backend numpy --epochs 10
"""

import argparse

from array_api_compat import array_namespace

import xcnn
from xcnn.layers import Conv2D, Dense, Flatten, MaxPool2D


@xcnn.ops.Op
def prelu(x, a, /):
    """y = max(x, 0) + a_c min(x, 0), for images x (N, C, H, W) and slopes a (C, 1, 1)."""
    xp = array_namespace(x)
    return xp.maximum(x, 0.0) + a * xp.minimum(x, 0.0), (x, a)


@prelu.gradient
def prelu_gradient(dy, values, needs):
    """dx = dy where x > 0, a_c dy elsewhere; da_c = sum over n, h, w of dy min(x, 0)."""
    x, a = values
    xp = array_namespace(x)
    positive = xp.astype(x > 0, x.dtype)
    da = xp.sum(dy * xp.minimum(x, 0.0), axis=(0, 2, 3))
    return dy * (positive + a * (1.0 - positive)), xp.reshape(da, a.shape)


class PReLU(xcnn.Layer):
    """Rectify, but for a slope that each channel learns (He et al., "Delving deep into rectifiers", 2015)."""

    def build(self, input_shape, make):
        self.a = make.parameter((input_shape[0], 1, 1), "zeros", weight=False)
        return input_shape

    def forward(self, x, /, *, train=False, hold=None):
        return prelu(x, self.a.value)

    def backward(self, dy, saved, /, *, need_dx=True):
        dx, da = saved.backward(dy)
        self.a.add_gradient(da)
        return dx


parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--backend", default="numpy", help="any of xcnn.available_backends(), or auto")
parser.add_argument("--epochs", type=int, default=10)
options = parser.parse_args()
xcnn.set_backend(options.backend)

data = xcnn.data.load("digits")
x = xcnn.get_backend().asarray(data.train.x[:4] - 0.3)  # on both sides of 0
print(f"largest relative error against finite differences: {xcnn.gradcheck(PReLU(), x):.1e}")
model = xcnn.Model([Conv2D(8, 3), PReLU(), MaxPool2D(2), Flatten(), Dense(10)], input_shape=(1, 8, 8))
model.fit(*data.train, epochs=options.epochs, optimizer=xcnn.optim.Adam(5e-3))
print("held out:", {name: round(value, 4) for name, value in model.evaluate(*data.test).items()})
print("slopes, once 0:", model.backend.to_numpy(model.layers[1].a.value).reshape(-1).round(3))

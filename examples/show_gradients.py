"""Every gradient of a small network, computed in the open: layer by layer forward, then backward.

python examples/show_gradients.py --backend numpy --images 4

There is no tape. A layer's forward returns y and what its backward needs; its backward turns dy into dx and
adds to the gradients of its parameters. A training step does this, then updates the parameters.
"""

import argparse

import xcnn
from xcnn.layers import Conv2D, Dense, Flatten, MaxPool2D, ReLU

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--backend", default="numpy", help="any of xcnn.available_backends(), or auto")
parser.add_argument("--epochs", type=int, default=1, help="of training before the look")
parser.add_argument("--images", type=int, default=4, help="in the batch")
options = parser.parse_args()
xcnn.set_backend(options.backend)

data = xcnn.data.load("digits", classes=["0", "1"])
model = xcnn.Model([Conv2D(2, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(2)], input_shape=(1, 8, 8), seed=4)
model.fit(*data.train, epochs=options.epochs)
x = model.accept(data.train.x[: options.images])
labels = model.backend.asarray(data.train.y[: options.images])

print(f"forward\n  {'images':21} x  {tuple(x.shape)}")
y, saved = x, []
for layer in model.layers:
    y, kept = layer.forward(y, train=True)
    saved.append(kept)
    print(f"  {layer.label:21} y  {tuple(y.shape)}")
loss, of_loss = xcnn.ops.cross_entropy(y, labels)
print(f"  {'cross-entropy':21} {float(loss):.6f}")

print("\nbackward")
dy = of_loss.backward(1.0)[0]
for layer, kept in zip(reversed(model.layers), reversed(saved), strict=True):
    dy = layer.backward(dy, kept)
    print(f"  {layer.label:21} dx {tuple(dy.shape)}")

print("\nthe gradient of the loss with respect to each parameter")
for name, p in model.parameters().items():
    print(f"{name} {p.shape}\n{model.backend.to_numpy(p.gradient).round(4)}")

p, h, losses = model.parameters()["layers[4].b"], 1e-2, []
gradient, before = float(p.gradient[0]), p.value
for shift in (h, -h):
    p.value = before + model.backend.asarray([shift, 0.0], model.dtype)
    losses.append(float(xcnn.ops.cross_entropy(model.forward(x)[0], labels)[0]))
print(f"\ncheck: moved by +-{h}, the first number of layers[4].b changes the loss at the rate")
print(f"({losses[0]:.6f} - {losses[1]:.6f}) / {2 * h} = {(losses[0] - losses[1]) / (2 * h):.4f}; ", end="")
print(f"its gradient is {gradient:.4f}")

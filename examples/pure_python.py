"""A network learns digits on plain Python numbers: floats in lists, and no array library.

python examples/pure_python.py --epochs 20 --images 300

The network of Tran The Trung's report on a Tensor class of nested lists: one convolution, two dense layers.
Its arrays are backends/xcnn_python, a thousand lines; layers, losses and training are every backend's.
"""

import argparse
import time

import xcnn
from xcnn.layers import Conv2D, Dense, Flatten, MaxPool2D

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--backend", default="numpy", help="the one that plain Python is compared with")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--images", type=int, default=300, help="train on so many")
options = parser.parse_args()

data = xcnn.data.load("digits", train_size=options.images)


def train(backend, epochs=options.epochs, show=lambda epoch, loss, seconds: None):
    """Return a trained model, and for each epoch its loss and the seconds since the start."""
    model = xcnn.Model(
        [
            Conv2D(4, 3, padding=1, activation="relu", init="lecun_uniform"),
            MaxPool2D(2),
            Flatten(),
            Dense(32, activation="relu", init="lecun_uniform"),
            Dense(10, init="lecun_uniform"),
        ],
        input_shape=(1, 8, 8),
        backend=backend,
    )
    rows, start = [], time.perf_counter()

    def note(epoch, logs):
        rows.append((logs["loss"], time.perf_counter() - start))
        show(epoch, *rows[-1])

    model.fit(*data.train, epochs=epochs, batch_size=16, optimizer=xcnn.optim.SGD(0.2), callbacks=[note])
    return model, rows


train(options.backend, epochs=1)  # a backend may compile kernels, once: not counted
fast, reference = train(options.backend)


def beside(epoch, loss, seconds):
    """Print an epoch of plain Python beside the same one of the other backend."""
    other, its_seconds = reference[epoch]
    print(f"{epoch + 1:5}  {loss:9.6f} {seconds:6.2f} s  {other:9.6f} {its_seconds:6.2f} s", flush=True)


print(f"{len(data.train.y)} images; the loss of each epoch, and the seconds since the start\n")
print(f"epoch  {'python':>18}  {fast.backend.name:>18}")
model, rows = train("python", show=beside)
print(f"plain Python took {rows[-1][1] / reference[-1][1]:.0f} times as long")
for trained in (model, fast):
    right = trained.evaluate(*data.test)["accuracy"]
    print(f"{trained.backend.name}: {right:.1%} of {len(data.test.y)} other images are recognised")

x = model.accept(data.test.x[:1])
y = model.layers[0].forward(x)[0][0, 0, 1:-1, 1:-1]
i, j = divmod(int(model.backend.xp.argmax(y)), 6)  # the brightest pixel of the first feature map
patch, kernel = (
    x[0, 0, i : i + 3, j : j + 3].tolist(),
    model.layers[0].w.value[0, 0].tolist(),
)  # lists of floats
bias = float(model.layers[0].b.value[0])
total = sum(p * k for row in zip(patch, kernel, strict=True) for p, k in zip(*row, strict=True)) + bias
print("\none pixel of the first feature map: patch and kernel\n")
for row in zip(patch, kernel, strict=True):
    print("     ".join("".join(f"{v:8.4f}" for v in part) for part in row))
print(
    f"\nthe sum of their products and the bias {bias:.4f}: {total:.6f}; the layer says {float(y[i, j]):.6f}"
)

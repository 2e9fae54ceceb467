"""LeNet-5 on MNIST: 61,706 parameters, 98.7 % of the test images after one epoch.

python examples/lenet5_mnist.py --backend numpy --epochs 3

The network of Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
recognition", 1998, with ReLU and the largest pixel of a window instead of tanh and the mean. MNIST is read
from $XCNN_DATA or the cache, or else downloaded.
"""

import argparse
import time
from collections import Counter

import xcnn
from xcnn.layers import Conv2D, Dense, Flatten, MaxPool2D

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--backend", default="numpy", help="any of xcnn.available_backends(), or auto")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--images", type=int, help="train and test on so many only")
options = parser.parse_args()
xcnn.set_backend(options.backend)

data = xcnn.data.load("mnist", train_size=options.images, test_size=options.images)  # (N, 1, 28, 28) uint8

model = xcnn.Model(
    [
        Conv2D(6, 5, padding=2, activation="relu"),
        MaxPool2D(2),
        Conv2D(16, 5, activation="relu"),
        MaxPool2D(2),
        Flatten(),
        Dense(120, activation="relu"),
        Dense(84, activation="relu"),
        Dense(10),
    ],
    input_shape=(1, 28, 28),
)
model.summary()

start = time.perf_counter()
history = model.fit(
    *data.train,
    epochs=options.epochs,
    optimizer=xcnn.optim.Adam(4e-3),  # at the peak of the cycle
    schedule="one_cycle",
    validation=data.test,
)
print(f"\n{options.epochs} epochs in {time.perf_counter() - start:.1f} s on {model.backend.name}")
print("epoch    loss  test loss  test accuracy")
for epoch in range(history.epochs):
    loss, test_loss, accuracy = (history[name][epoch] for name in ("loss", "val_loss", "val_accuracy"))
    print(f"{epoch + 1:5}  {loss:6.4f}  {test_loss:9.4f}  {accuracy:13.2%}")

x, y = data.test
pairs = Counter((int(a), int(b)) for a, b in zip(y, model.predict_classes(x), strict=True) if a != b)
print("most often mistaken:", ", ".join(f"{a} for {b}, {n} times" for (a, b), n in pairs.most_common(3)))

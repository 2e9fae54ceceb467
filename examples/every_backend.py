"""The same network on every backend present: the same weights, batches and dropout, so the same losses.

python examples/every_backend.py --backend numpy --epochs 1
"""

import argparse

import numpy as np

import xcnn
from xcnn.layers import BatchNorm2D, Conv2D, Dense, Dropout, Flatten, MaxPool2D, ReLU

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--backend", default="numpy", help="the one that the others are compared with")
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--images", type=int, help="train on so many only")
options = parser.parse_args()
xcnn.set_backend(options.backend)

data = xcnn.data.load("digits", train_size=options.images)


def train():
    """Return the first weights and the loss of each step, on the backend in use."""
    model = xcnn.Model(
        [Conv2D(8, 3), BatchNorm2D(), ReLU(), MaxPool2D(2), Dropout(0.2), Flatten(), Dense(10)],
        input_shape=(1, 8, 8),
        seed=1,
    )
    first = model.backend.to_numpy(model.state.arrays.values)
    trainer = xcnn.Trainer(model, optimizer=xcnn.optim.Adam(2e-3), seed=2)
    loader = xcnn.data.Loader(*data.train, batch_size=64, seed=3)
    return first, [float(trainer.step(x, y)) for _ in range(options.epochs) for x, y in loader]


first, reference = train()
columns = {xcnn.get_backend().name: reference}
for name in xcnn.available_backends():
    with xcnn.use_backend(name) as backend:
        if backend.name not in columns:
            weights, columns[backend.name] = train()
            assert np.array_equal(weights, first), f"{backend.name} begins with other weights"
for name, problem in xcnn.backend_problems().items():
    print(f"left out: {name}: {problem}")

print("every one begins with the same weights; the loss of each step:\n")
print("step  " + "  ".join(f"{name:>12}" for name in columns))
for i, losses in enumerate(zip(*columns.values(), strict=True)):
    print(f"{i + 1:4}  " + "  ".join(f"{loss:12.7f}" for loss in losses))
for name, losses in columns.items():
    print(f"largest difference of {name}: {np.abs(np.subtract(losses, reference)).max():.1e}")

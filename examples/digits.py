"""A first network: train on scikit-learn's 1,797 handwritten digits, look at one, save, load.

python examples/digits.py --backend numpy --epochs 20
"""

import argparse

import xcnn
from xcnn.layers import Conv2D, Dense, Flatten, MaxPool2D

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--backend", default="numpy", help="any of xcnn.available_backends(), or auto")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--images", type=int, help="train on so many only")
parser.add_argument("--out", default="digits.xcnn", help="the file to save to")
options = parser.parse_args()
xcnn.set_backend(options.backend)

data = xcnn.data.load("digits", train_size=options.images)  # images (N, 1, 8, 8) in [0, 1], labels (N,)

model = xcnn.Model(
    [
        Conv2D(16, 3, padding="same", activation="relu"),
        MaxPool2D(2),
        Conv2D(32, 3, padding="same", activation="relu"),
        Flatten(),
        Dense(10),  # one logit for each digit; the loss turns them into probabilities
    ],
    input_shape=(1, 8, 8),
    seed=0,
)
model.summary()

model.fit(
    *data.train,
    epochs=options.epochs,
    batch_size=32,
    optimizer=xcnn.optim.Adam(2e-3),
    callbacks=[lambda epoch, logs: print(f"epoch {epoch + 1:2}  loss {logs['loss']:.4f}")],
)
print("held out:", {name: round(value, 4) for name, value in model.evaluate(*data.test).items()})

x, y = data.test
proba = model.predict_proba(x)
doubtful = int(proba.max(axis=1).argmin())  # where the largest probability is smallest
print(f"\nthe digit it is least sure of, a {y[doubtful]}:")
for row in x[doubtful, 0]:
    print("    " + "".join(2 * " .:-=+*#%@"[int(9 * pixel)] for pixel in row))
print("its guesses:", ", ".join(f"{k}: {proba[doubtful, k]:.0%}" for k in (-proba[doubtful]).argsort()[:3]))

model.save(options.out)
same = xcnn.load(options.out).predict_classes(x) == proba.argmax(axis=1)
print(f"\n{options.out} gives the same answers: {bool(same.all())}")

"""A small residual network on CIFAR-10, with batch norm, augmentation and one cycle of the learning rate.

python examples/resnet_cifar10.py --backend auto --epochs 15

Made for a GPU; on a processor, try --images 5000 --width 8. Blocks as in K. He, X. Zhang, S. Ren, J. Sun,
"Deep residual learning for image recognition", 2016. CIFAR-10 is read from $XCNN_DATA or the cache, or else
downloaded.
"""

import argparse

import xcnn
from xcnn.data import Compose, RandomCrop, RandomFlip
from xcnn.layers import BatchNorm2D, Conv2D, Dense, GlobalAvgPool2D, Identity, ReLU, Sequential, Sum

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--backend", default="numpy", help="any of xcnn.available_backends(), or auto")
parser.add_argument("--epochs", type=int, default=15)
parser.add_argument("--images", type=int, help="train and test on so many only")
parser.add_argument("--width", type=int, default=32, help="filters of the first stage")
options = parser.parse_args()
xcnn.set_backend(options.backend)


def conv(filters, stride=1):
    """Return a 3 x 3 convolution and its norm, which has the biases."""
    return Sequential(Conv2D(filters, 3, stride=stride, padding="same", bias=False), BatchNorm2D())


def stage(filters, stride):
    """Return a convolution, then relu(x + body(x)): the body learns what to change."""
    body = Sequential(conv(filters), ReLU(), conv(filters))
    return Sequential(conv(filters, stride), ReLU(), Sum(Identity(), body), ReLU())


data = xcnn.data.load("cifar10", train_size=options.images, test_size=options.images)
normalize = xcnn.layers.Normalize(*xcnn.data.channel_statistics(data.train.x))  # saved with the model
stages = [stage(options.width << k, stride) for k, stride in enumerate((1, 2, 2))]
model = xcnn.Model([normalize, *stages, GlobalAvgPool2D(), Dense(10)], input_shape=(3, 32, 32))
model.summary()

history = model.fit(
    *data.train,
    epochs=options.epochs,
    batch_size=128,
    optimizer=xcnn.optim.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    schedule=xcnn.schedules.OneCycle(warmup=0.2),
    augment=Compose([RandomCrop(4), RandomFlip()]),
    validation=data.test,
    callbacks=[lambda epoch, logs: print(epoch + 1, {k: round(v, 4) for k, v in logs.items()})],
)

guess = model.predict_classes(data.test.x)
for k, name in enumerate(data.classes):
    print(f"{name:10}  recall {(guess[data.test.y == k] == k).mean():.1%}")

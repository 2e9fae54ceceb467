"""Data sets, batches and augmentation."""

from xcnn.data.augment import Compose, Cutout, RandomCrop, RandomFlip, RandomRotation, RandomShift
from xcnn.data.centre import centre_strokes
from xcnn.data.dataset import DataSet, Split
from xcnn.data.idx import read_idx
from xcnn.data.images import read_images
from xcnn.data.load import load
from xcnn.data.loader import Loader
from xcnn.data.rows import Rows
from xcnn.data.sets import available
from xcnn.data.split import split
from xcnn.data.statistics import channel_statistics

__all__ = [
    "Compose",
    "Cutout",
    "DataSet",
    "Loader",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "RandomShift",
    "Rows",
    "Split",
    "available",
    "centre_strokes",
    "channel_statistics",
    "load",
    "read_idx",
    "read_images",
    "split",
]

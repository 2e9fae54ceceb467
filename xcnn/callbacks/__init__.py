"""What happens between steps and epochs, besides training."""

from xcnn.callbacks.base import Callback
from xcnn.callbacks.best import EarlyStopping, ModelCheckpoint
from xcnn.callbacks.record import BlockLoss, JSONLogger
from xcnn.callbacks.schedule import LearningRateSchedule

__all__ = [
    "BlockLoss",
    "Callback",
    "EarlyStopping",
    "JSONLogger",
    "LearningRateSchedule",
    "ModelCheckpoint",
]

"""Training: the step, the loop over it, and what is measured on the way."""

from xcnn.training.checkpoint import Checkpoint
from xcnn.training.evaluate import evaluate
from xcnn.training.fit import fit
from xcnn.training.history import History
from xcnn.training.trainer import Trainer

__all__ = ["Checkpoint", "History", "Trainer", "evaluate", "fit"]

"""Training: the step, the loop over it, and what is measured on the way."""

from xcnn.training.evaluate import evaluate
from xcnn.training.fit import fit
from xcnn.training.history import History
from xcnn.training.trainer import Trainer

__all__ = ["History", "Trainer", "evaluate", "fit"]

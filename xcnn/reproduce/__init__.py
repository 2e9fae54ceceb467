"""The experiments of five reports on networks written from scratch, run again.

Each is a JSON file in ``examples/reports``: what the report did, what it found, and where it is wrong.
"""

from xcnn.reproduce.catalogue import experiments, reproduce
from xcnn.reproduce.experiment import Experiment
from xcnn.reproduce.result import Result, Row

__all__ = ["Experiment", "Result", "Row", "experiments", "reproduce"]

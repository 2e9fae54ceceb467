"""What is wrong with a model, and what to change: observed in numbers, judged, reported."""

from xcnn.diagnosis.observe import Observation, observe
from xcnn.diagnosis.report import Diagnosis, diagnose
from xcnn.diagnosis.symptoms import Finding

__all__ = ["Diagnosis", "Finding", "Observation", "diagnose", "observe"]

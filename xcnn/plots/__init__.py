"""Figures, each by one call: they return a matplotlib Figure and save it where `path` is given.

No window is opened and pyplot is not used, so they work without a display. Colours are those of Okabe and
Ito, and no message rests on colour alone.
"""

from xcnn.errors import Error

try:
    import matplotlib  # noqa: F401
except ImportError as _error:
    raise Error(
        'figures are drawn by matplotlib, which is not installed; needed: pip install "xcnn[app]"',
        where="xcnn.plots",
    ) from _error

from xcnn.plots.classes import class_distribution, confusion_matrix
from xcnn.plots.curves import blocks, compare, learning_curves
from xcnn.plots.grid import heat_map
from xcnn.plots.histograms import histograms
from xcnn.plots.images import misclassified, predictions
from xcnn.plots.intervals import intervals
from xcnn.plots.layers import feature_maps, kernels
from xcnn.plots.reliability import reliability
from xcnn.plots.settings import settings

__all__ = [
    "blocks",
    "class_distribution",
    "compare",
    "confusion_matrix",
    "feature_maps",
    "heat_map",
    "histograms",
    "intervals",
    "kernels",
    "learning_curves",
    "misclassified",
    "predictions",
    "reliability",
    "settings",
]

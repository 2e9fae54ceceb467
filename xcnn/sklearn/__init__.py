"""Networks as estimators of scikit-learn: for its pipelines, its searches and its measures."""

from xcnn.errors import Error

try:
    from sklearn.utils.validation import validate_data  # noqa: F401
except ImportError as _error:
    raise Error(
        'estimators need scikit-learn 1.6 or newer, which is not installed; needed: pip install "xcnn[app]"',
        where="xcnn.sklearn",
    ) from _error

from xcnn.sklearn.classifier import CNNClassifier

__all__ = ["CNNClassifier"]

"""What happened to one image, layer by layer: by numbers, as text, pictures and animations.

`Model.explain` and `Layer.explain` are the way in. A layer of your own says what it did by
``@xcnn.explain.explanation.register``; until then its shapes and ranges are shown.
"""

from xcnn.explain.affine import Affine, DenseUnit
from xcnn.explain.conv import Convolution
from xcnn.explain.explanation import Explanation, explanation
from xcnn.explain.model import explain_layer, explain_model
from xcnn.explain.occlusion import Occlusion, occlusion
from xcnn.explain.overview import ModelExplanation
from xcnn.explain.pointwise import Pointwise, Probability, Standardised
from xcnn.explain.structure import Said
from xcnn.explain.trace import Step
from xcnn.explain.windows import Pooling, Windowed

__all__ = [
    "Affine",
    "Convolution",
    "DenseUnit",
    "Explanation",
    "ModelExplanation",
    "Occlusion",
    "Pointwise",
    "Pooling",
    "Probability",
    "Said",
    "Standardised",
    "Step",
    "Windowed",
    "explain_layer",
    "explain_model",
    "explanation",
    "occlusion",
]

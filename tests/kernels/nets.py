"""Small nets: each thing that a compiled run knows, in the places where it may stand."""

from __future__ import annotations

from tests.kernels import nets_known, nets_pools, nets_trees  # noqa: F401 (they enter their nets)
from tests.kernels.blocks import NETS, block, body

__all__ = ["NETS", "SINGLE_NUMBERS", "block", "body"]

# With one image, a batch norm of these sees one number in each channel: all gradients below it are 0.
SINGLE_NUMBERS = ("1x1 images with norm", "norm of features", "norm of flattened images")

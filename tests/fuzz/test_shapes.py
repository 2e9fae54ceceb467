"""Every layer and op with shapes and options of all sorts: kernels agree with the readable pairs, or refuse.

All of the inputs are run by `tests.fuzz.test_targets`.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.harness import check
from tests.fuzz.shapes import BUILD, COMPOSITES, FAMILIES, RUN
from tests.fuzz.shapes_ops import LABELLED, LOSSES, OP, OPS
from xcnn import layers, ops

every_target = pytest.mark.parametrize("target", [BUILD, RUN, OP, LABELLED], ids=lambda target: target.name)


def test_every_layer_and_op_is_among_them():
    assert FAMILIES.keys() | COMPOSITES.keys() == set(layers.__all__) - {"Layer"}
    assert OPS.keys() | LOSSES == set(ops.__all__) - {"Op", "Saved"}


@every_target
def test_whatever_hypothesis_makes_up_is_taken_or_refused(target):
    target.seeds()

    @settings(max_examples=20)
    @given(st.binary(max_size=32))
    def run(data):
        check(target, data)

    run()

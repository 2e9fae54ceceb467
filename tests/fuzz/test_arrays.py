"""Arrays and labels of all sorts: taken, or refused; inputs and models that refuse stay as they were.

All of the inputs are run by `tests.fuzz.test_targets`.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.arrays import TARGETS
from tests.fuzz.arrays_held import Choices
from tests.fuzz.arrays_sklearn import ESTIMATOR
from tests.fuzz.harness import check

every_target = pytest.mark.parametrize("target", [*TARGETS, ESTIMATOR], ids=lambda target: target.name)


@every_target
def test_whatever_hypothesis_makes_up_is_taken_or_refused(target):
    target.seeds()

    @settings(max_examples=10)
    @given(st.binary(max_size=32))
    def run(data):
        check(target, data)

    run()


def test_the_same_bytes_draw_the_same_case():
    first, second = Choices(b"abcdefgh"), Choices(b"abcdefgh")
    drawn = [first.choice(range(1000)) for _ in range(50)]
    assert drawn == [second.choice(range(1000)) for _ in range(50)]
    assert drawn != [Choices(b"abcdefgi").choice(range(1000)) for _ in range(50)]
    assert len(set(drawn)) > 20

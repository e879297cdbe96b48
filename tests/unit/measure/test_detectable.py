"""What a number of samples can tell of a drop is what the paired test says."""

from __future__ import annotations

import numpy as np
import pytest

from compressor.measure import detectable
from compressor.measure.statistics import paired_difference


@pytest.mark.parametrize("number", [6, 24, 1000])
def test_the_smallest_drop_is_the_first_that_the_paired_test_calls_real(number):
    def p_value(lost: int) -> float:
        return paired_difference(np.ones(number, bool), np.arange(number) >= lost).p_value

    least = detectable.smallest_drop(number)

    assert least is not None
    assert p_value(round(least / 100 * number)) < 0.05 < p_value(round(least / 100 * number) - 1)


def test_what_a_budget_takes_is_said_where_there_is_less():
    assert detectable.told(24, points=0.5) == (
        "a drop of less than 25 points cannot be told from chance on so many; for 0.5 it takes 1,200 or more"
    )
    assert detectable.samples_to_tell(0.5) == 1200
    assert detectable.smallest_drop(1200) == pytest.approx(0.5)
    assert "it takes" not in detectable.told(1200, points=0.5)
    assert "it takes" not in detectable.told(24, points=None)
    assert "it takes" not in detectable.told(24, points=0.0)


def test_of_five_samples_nothing_can_be_told():
    assert detectable.smallest_drop(5) is None
    assert detectable.told(5, points=1.0) == "no drop can be told from chance on so few; for 1 it takes 600 or more"

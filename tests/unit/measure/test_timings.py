"""What is kept of a contest: intervals come from how far starts differ, and a single start has none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from compressor.measure import timings
from compressor.measure.clock import Timing
from compressor.measure.contest import Measured
from compressor.measure.isolated import Ready
from compressor.measure.record import Speedup
from compressor.recipe import ProfileSettings

EDGE = ProfileSettings(threads=1, batch=1)
PLACE = timings.Place("student", "ort_cpu", "edge", {})


def measured(medians_ms: list[float], *, starts: int) -> Measured:
    """A model with a block for each median, all samples of a block alike."""
    blocks: tuple[NDArray[np.float64], ...] = tuple(np.full(50, ms) for ms in medians_ms)
    ready = Ready(load_ms=1.0, first_ms=1.0, describe={}, memory_mb=1.0, before_mb=1.0)
    return Measured(Timing(blocks), ready, True, 0.0, 1.0, 1.0, None, starts)


def test_the_interval_of_the_p50_is_as_wide_as_starts_differ_however_alike_the_samples_are() -> None:
    found = timings.curve_point(PLACE, measured([0.040, 0.040, 0.050, 0.050, 0.045, 0.045], starts=3), EDGE)

    assert found.p50_interval is not None
    low, high = found.p50_interval
    assert found.p50_ms == pytest.approx(0.045)
    assert (low, high) == (pytest.approx(0.0341, rel=0.01), pytest.approx(0.0594, rel=0.01))


def test_a_single_start_has_neither_intervals_nor_a_speedup_that_claims_one() -> None:
    base, other = measured([2.0, 2.1, 2.0], starts=1), measured([1.0, 1.0, 1.1], starts=1)
    taken = {("teacher", "ort_cpu"): base.timing.blocks, ("student", "ort_cpu"): other.timing.blocks}

    found = timings.timing(PLACE, other, EDGE, taken=taken, base="teacher")

    assert found.p50_interval is None
    assert found.speedup == Speedup(2.0, None, None, "teacher")
    assert found.speedup_against_teacher_torch is None


def test_several_starts_give_the_same_ratio_an_interval() -> None:
    base, other = [np.full(9, 2.0)] * 4, [np.full(9, ms) for ms in (1.0, 1.0, 0.9, 1.1)]
    taken = {("teacher", "ort_cpu"): base, ("student", "ort_cpu"): other}

    once, often = (timings.speedup(PLACE, taken, base="teacher", on="ort_cpu", starts=starts) for starts in (1, 4))

    assert once is not None
    assert often is not None
    assert once.ratio == often.ratio
    assert often.low is not None
    assert often.high is not None
    assert often.low < often.ratio < often.high

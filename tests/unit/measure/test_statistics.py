"""Summaries and intervals against known values and known distributions."""

from __future__ import annotations

import numpy as np
import pytest

from compressor.errors import MeasurementError
from compressor.measure.statistics import paired_speedup, summarise, wilson_interval


def test_summary_of_one_to_one_hundred() -> None:
    found = summarise(np.arange(1.0, 101.0))

    assert (found.count, found.mean_ms, found.p50_ms, found.min_ms) == (100, 50.5, 50.5, 1.0)
    assert found.p90_ms == pytest.approx(90.1)
    assert found.std_ms == pytest.approx(np.std(np.arange(100), ddof=1))


def test_p99_needs_a_thousand_samples() -> None:
    assert summarise(np.ones(999)).p99_ms is None
    assert summarise(np.ones(1000)).p99_ms == 1.0


def test_one_sample_has_no_deviation() -> None:
    assert summarise(np.array([2.0])).std_ms == 0.0


def test_a_summary_of_nothing_is_refused() -> None:
    with pytest.raises(MeasurementError, match="nothing was timed"):
        summarise(np.array([]))


def test_speedup_of_blocks_against_themselves_is_exactly_one() -> None:
    blocks = list(np.random.default_rng(0).random((20, 10)) + 1)

    found = paired_speedup(blocks, blocks)

    assert (found.ratio, found.low, found.high) == (1.0, 1.0, 1.0)


def test_speedup_is_base_over_other() -> None:
    found = paired_speedup([np.full(5, 4.0)] * 10, [np.full(5, 2.0)] * 10)

    assert (found.ratio, found.low, found.high) == (2.0, 2.0, 2.0)


def test_speedup_does_not_see_a_machine_that_becomes_three_times_slower() -> None:
    drift = np.linspace(1, 3, 20)

    found = paired_speedup([np.full(9, 2.0) * d for d in drift], [np.full(9, 1.0) * d for d in drift])

    assert found.low == pytest.approx(2.0)
    assert found.high == pytest.approx(2.0)


def test_speedup_survives_one_block_that_was_disturbed() -> None:
    base = [np.full(9, 2.0)] * 20
    other = [np.full(9, 50.0), *[np.full(9, 1.0)] * 19]

    assert paired_speedup(base, other).ratio == 2.0


def test_speedup_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        base, other = rng.lognormal(np.log(1.5), 0.1, (20, 9)), rng.lognormal(0.0, 0.1, (20, 9))
        found = paired_speedup(list(base), list(other), seed=trial, resamples=300)
        covered += found.low <= 1.5 <= found.high

    assert 0.88 <= covered / 200 <= 0.99, f"covered in {covered} of 200"


def test_speedup_is_the_same_for_the_same_seed() -> None:
    base, other = list(np.random.default_rng(0).random((20, 9))), list(np.random.default_rng(1).random((20, 9)))

    assert paired_speedup(base, other, seed=3) == paired_speedup(base, other, seed=3)


@pytest.mark.parametrize(("left", "right"), [(3, 4), (1, 1), (0, 0)])
def test_blocks_that_cannot_be_paired_are_refused(left: int, right: int) -> None:
    with pytest.raises(MeasurementError, match=f"{left} and {right} blocks cannot be paired"):
        paired_speedup([np.ones(3)] * left, [np.ones(3)] * right)


def test_wilson_interval_of_a_known_case() -> None:
    # Brown, Cai & DasGupta 2001: 1 of 10; the closed form gives 0.0179 to 0.4042.
    assert wilson_interval(1, 10) == pytest.approx((0.0179, 0.4042), abs=1e-4)


def test_wilson_interval_stays_within_zero_and_one() -> None:
    assert wilson_interval(0, 20)[0] == 0.0
    assert wilson_interval(20, 20)[1] == 1.0
    assert wilson_interval(20, 20)[0] < 0.9


def test_wilson_interval_of_no_trials_is_refused() -> None:
    with pytest.raises(MeasurementError, match="no trials"):
        wilson_interval(0, 0)

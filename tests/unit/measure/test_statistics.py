"""Summaries and intervals against known values and known distributions."""

from __future__ import annotations

import numpy as np
import pytest

from compressor.errors import MeasurementError
from compressor.measure.statistics import (
    _few_draws,
    _t,
    blocks_of_starts,
    more_than_fair,
    paired_difference,
    paired_speedup,
    percentile_interval,
    summarise,
    wilson_interval,
)


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


@pytest.mark.parametrize(
    ("blocks", "starts", "shares"), [(20, 5, [4] * 5), (7, 3, [3, 2, 2]), (2, 5, [1, 1]), (6, 1, [6])]
)
def test_blocks_are_shared_out_among_starts(blocks: int, starts: int, shares: list[int]) -> None:
    assert blocks_of_starts(blocks, starts) == shares


@pytest.mark.parametrize(("told", "least", "most"), [(5, 0.90, 1.0), (1, 0.0, 0.8)])
def test_a_process_that_is_slow_for_life_is_in_the_interval_when_its_start_is_told(
    told: int, least: float, most: float
) -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for trial in range(200):
        ratios = np.repeat(rng.normal(0.0, 0.01, 5), 4) + rng.normal(0.0, 0.005, 20)
        base, other = np.exp(ratios)[:, None], np.ones((20, 1))
        found = paired_speedup(list(base), list(other), starts=told, seed=trial, resamples=300)
        covered += found.low <= 1.0 <= found.high

    assert least <= covered / 200 <= most, f"covered in {covered} of 200"


@pytest.mark.parametrize(("draws", "blocks", "wider"), [(5, 20, 1.194), (20, 20, 1.096), (4, 8, 1.393)])
def test_an_interval_of_few_draws_is_as_much_wider_as_the_tables_of_t_say(
    draws: int, blocks: int, wider: float
) -> None:
    assert _few_draws(draws, of=blocks) == pytest.approx(wider, abs=0.01)


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


def right(text: str) -> np.ndarray:
    return np.array([letter == "1" for letter in text])


def test_answers_that_are_right_and_wrong_together_show_no_difference() -> None:
    found = paired_difference(right("1100"), right("1100"))

    assert (found.base_only, found.other_only, found.difference, found.p_value) == (0, 0, 0.0, 1.0)


def test_the_paired_test_is_that_of_a_fair_coin() -> None:
    from scipy.stats import binomtest

    for base_only, other_only in ((9, 1), (30, 12), (0, 5), (700, 640)):
        base = right("1" * base_only + "0" * other_only + "1" * 50)
        other = right("0" * base_only + "1" * other_only + "1" * 50)

        found = paired_difference(base, other)

        expected = binomtest(base_only, base_only + other_only).pvalue
        assert found.p_value == pytest.approx(expected, rel=1e-9)
        assert found.difference == pytest.approx((other_only - base_only) / len(base))
        assert found.low <= found.difference <= found.high


def test_the_interval_of_a_paired_difference_holds_it_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        base = generator.random(300) < 0.9
        flips = generator.random(300)
        other = np.where(base, flips > 0.06, flips < 0.2)  # true difference: 0.1 * 0.2 - 0.9 * 0.06
        found = paired_difference(base, other)
        held += found.low <= 0.1 * 0.2 - 0.9 * 0.06 <= found.high

    assert 0.92 <= held / 400 <= 0.99


@pytest.mark.parametrize("starts", [2, 3, 5, 12])
def test_the_interval_of_a_percentile_holds_what_starts_that_differ_have_in_common(starts: int) -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        slow = generator.normal(0.0, 0.05, starts)  # for as long as a process lives
        taken = [np.exp(own + generator.normal(0.0, 0.01, 200)) for own in slow]
        low, high = percentile_interval(taken, 50) or (0.0, 0.0)
        held += low <= 1.0 <= high

    assert 0.92 <= held / 400 <= 0.98, f"held in {held} of 400"


def test_samples_that_agree_do_not_hide_that_starts_differ() -> None:
    taken = [np.full(500, ms) for ms in (1.0, 1.1, 0.9, 1.05, 0.95)]

    low, high = percentile_interval(taken, 50) or (0.0, 0.0)

    assert low == pytest.approx(1.0 / 1.104, abs=0.02)
    assert high == pytest.approx(1.104, abs=0.02)


def test_a_single_start_has_no_interval_however_many_samples_it_gave() -> None:
    assert percentile_interval([np.random.default_rng(0).random(10_000) + 1], 50) is None


def test_quantiles_of_t_go_on_where_the_table_ends() -> None:
    assert [round(_t(free), 2) for free in (1, 4, 9, 10, 30, 1000)] == [12.71, 2.78, 2.26, 2.23, 2.04, 1.96]


@pytest.mark.parametrize(
    ("more", "fewer", "probability"),
    [(0, 0, 1.0), (3, 3, 1.0), (2, 5, 1.0), (5, 0, 1 / 32), (4, 0, 1 / 16), (4, 1, 6 / 32)],
)
def test_the_one_sided_sign_test_counts_coins(more: int, fewer: int, probability: float) -> None:
    assert more_than_fair(more, fewer) == pytest.approx(probability)

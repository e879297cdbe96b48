"""Learning-rate schedules."""

from __future__ import annotations

import pytest

from compressor.training.schedules import factor


@pytest.mark.parametrize("schedule", ["cosine", "step", "one_cycle", "constant"])
def test_every_schedule_stays_between_zero_and_the_peak(schedule):
    values = [factor(schedule, step=s, total=100, warmup=10, milestones=(0.5, 0.75)) for s in range(100)]
    assert len(values) == 100
    assert all(0 <= value <= 1 for value in values)
    assert max(values) > 0.95


def test_warmup_rises_in_equal_steps_and_never_starts_at_zero():
    values = [factor("cosine", step=s, total=100, warmup=4) for s in range(5)]
    assert values == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_cosine_is_at_half_in_the_middle_and_near_zero_at_the_end():
    assert factor("cosine", step=50, total=100, warmup=0) == pytest.approx(0.5)
    assert factor("cosine", step=99, total=100, warmup=0) < 0.001


def test_step_drops_by_gamma_at_each_milestone():
    at = {s: factor("step", step=s, total=100, warmup=0, milestones=(0.5, 0.75), gamma=0.1) for s in (49, 50, 74, 75)}
    assert at == pytest.approx({49: 1.0, 50: 0.1, 74: 0.1, 75: 0.01})


def test_one_cycle_begins_at_a_twenty_fifth_and_peaks_after_thirty_percent():
    assert factor("one_cycle", step=0, total=100, warmup=0) == pytest.approx(1 / 25)
    assert factor("one_cycle", step=30, total=100, warmup=0) == pytest.approx(1.0)


def test_a_run_of_one_step_has_a_learning_rate():
    assert factor("cosine", step=0, total=1, warmup=0) == 1.0

"""Where the milliseconds go."""

from __future__ import annotations

import time

import pytest

from compressor.training.stopwatch import PHASES, WHAT, Stopwatch


def test_phases_add_up_over_steps():
    watch = Stopwatch()
    for _ in range(2):
        with watch.phase("teacher"):
            time.sleep(0.02)
        watch.step(8)
    assert watch.ms_per_step()["teacher"] == pytest.approx(20, abs=15)
    assert watch.ms_per_step()["student"] == 0
    assert watch.samples == 16


def test_there_is_nothing_to_say_before_the_first_step():
    assert Stopwatch().ms_per_step() == {}


def test_a_phase_that_fails_is_counted_and_raises():
    watch = Stopwatch()
    with pytest.raises(ValueError, match="no"), watch.phase("losses"):
        raise ValueError("no")
    assert watch.seconds["losses"] > 0


def test_work_is_counted_where_it_was_asked_for():
    watch = Stopwatch(synchronise=lambda: time.sleep(0.02))
    with watch.phase("student"):
        pass
    assert watch.seconds["student"] >= 0.02


def test_every_phase_is_explained():
    assert set(WHAT) == set(PHASES)

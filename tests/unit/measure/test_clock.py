"""Warm-up and alternating blocks, with contestants whose time is scripted."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from compressor.measure.clock import Calls, time_alternating, warm_until_steady
from compressor.measure.statistics import paired_speedup


class Scripted:
    """A contestant whose n-th run takes `ms(n)`; it writes into `log` when it is asked."""

    def __init__(self, ms: Callable[[int], float], *, name: str = "", log: list[str] | None = None) -> None:
        self._ms = ms
        self._name = name
        self._log = [] if log is None else log
        self.runs = 0

    def run(self, times: int) -> NDArray[np.float64]:
        samples = [self._ms(self.runs + i) for i in range(times)]
        self.runs += times
        self._log.append(self._name)
        return np.array(samples)


def test_calls_reads_the_clock_before_and_after_each_call() -> None:
    ticks = itertools.count(0, 1_500_000)
    calls = Calls(lambda: None, clock=lambda: next(ticks))

    assert calls.run(3).tolist() == [1.5, 1.5, 1.5]


def test_calls_keeps_the_garbage_collector_out_of_the_samples() -> None:
    seen: list[bool] = []
    calls = Calls(lambda: seen.append(gc.isenabled()))

    calls.run(2)

    assert seen == [False, False]
    assert gc.isenabled()


def test_the_garbage_collector_is_back_after_a_call_that_fails() -> None:
    with pytest.raises(ZeroDivisionError, match="division"):
        Calls(lambda: 1 // 0).run(1)

    assert gc.isenabled()


def test_a_steady_contestant_is_warm_after_two_windows() -> None:
    warmup = warm_until_steady(Scripted(lambda n: 10.0))

    assert warmup.steady
    assert warmup.runs == 1 + 5 + 20


def test_a_slow_start_is_waited_for() -> None:
    contestant = Scripted(lambda n: 10.0 + 40.0 * 0.97**n)

    warmup = warm_until_steady(contestant)

    assert warmup.steady
    assert contestant.run(1)[0] == pytest.approx(10.0, rel=0.15)


def test_a_contestant_that_never_settles_is_given_up_as_not_steady() -> None:
    warmup = warm_until_steady(Scripted(lambda n: 1.0 + n * n), max_seconds=1.0)

    assert not warmup.steady


def test_one_run_longer_than_the_limit_ends_the_warm_up() -> None:
    assert warm_until_steady(Scripted(lambda n: 20_000.0)).runs == 1


def test_contestants_alternate_and_change_order_each_round() -> None:
    log: list[str] = []
    contestants = {name: Scripted(lambda n: 1.0, name=name, log=log) for name in "AB"}

    time_alternating(contestants, blocks=4, min_seconds=0.004, min_samples=4)

    assert "".join(log) == "AB" + "ABBAABBA"  # two pilots, then four rounds


def test_every_contestant_gets_enough_samples_and_about_the_time_asked_for() -> None:
    contestants = {"slow": Scripted(lambda n: 100.0), "fast": Scripted(lambda n: 1.0)}

    timings = time_alternating(contestants, blocks=10, min_seconds=2.0, min_samples=101)

    assert [len(block) for block in timings["slow"].blocks] == [11] * 10
    assert [len(block) for block in timings["fast"].blocks] == [200] * 10
    assert timings["fast"].samples_ms.sum() == pytest.approx(2000.0)


def test_samples_stay_in_the_order_they_were_taken() -> None:
    timing = time_alternating({"A": Scripted(lambda n: 1.0 + n)}, blocks=3, min_seconds=0.001, min_samples=6)["A"]

    assert timing.samples_ms.tolist() == [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]


def test_a_drifting_machine_does_not_change_the_speedup() -> None:
    moment = itertools.count()

    def drifting(ms: float) -> Callable[[int], float]:
        return lambda n: ms * (1 + next(moment) / 1000)  # twice as slow after 1 000 inferences of either

    contestants = {"teacher": Scripted(drifting(3.0)), "student": Scripted(drifting(1.0))}

    timings = time_alternating(contestants, blocks=20, min_seconds=0.001, min_samples=400)

    found = paired_speedup(timings["teacher"].blocks, timings["student"].blocks)
    assert found.low <= 3.0 <= found.high
    assert found.ratio == pytest.approx(3.0, rel=0.02)

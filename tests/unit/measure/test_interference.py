"""What else was at work while models were timed: read from what Linux counts, here written by the test."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from compressor.measure import interference
from compressor.measure.interference import RESTLESS, Interference, Watch, spread_of, together

TICKS = os.sysconf("SC_CLK_TCK")
CALM = {"model": [np.array([1.0, 1.0]), np.array([1.0, 1.02])]}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(interference.time, "monotonic", lambda: now[0])
    return now


def write(proc: Path, *, busy_s: tuple[float, ...], own_s: float = 0.0, stolen_s: float = 0.0) -> None:
    """A `/proc` in which each core was busy for so long, and process 7 took `own_s` of it."""
    lines = [
        f"cpu{core} {round(seconds * TICKS)} 0 0 9999 50 0 0 {round(stolen_s * TICKS)} 0 0"
        for core, seconds in enumerate(busy_s)
    ]
    (proc / "7").mkdir(parents=True, exist_ok=True)
    (proc / "stat").write_text("cpu  1 2 3 4\n" + "\n".join(lines) + "\nintr 5\n")
    fields = ["S", *["0"] * 10, str(round(own_s * TICKS)), "0", "0"]
    (proc / "7" / "stat").write_text(f"7 (a (strange) name) {' '.join(fields)}\n")


def test_what_the_cores_did_beyond_our_own_work_is_other_load(tmp_path: Path, clock: list[float]) -> None:
    write(tmp_path, busy_s=(5.0, 5.0), own_s=1.0)
    watch = Watch([7], cpus=(0,), proc=tmp_path)
    clock[0] += 10
    write(tmp_path, busy_s=(12.0, 14.0), own_s=5.0)

    seen = watch.stop(CALM)

    assert seen.other_load == pytest.approx(0.3)  # core 0 was busy for 7 of 10 s, 4 of them with our process
    assert seen.stolen == pytest.approx(0.0)


def test_time_that_the_hypervisor_kept_is_stolen(tmp_path: Path, clock: list[float]) -> None:
    write(tmp_path, busy_s=(0.0, 0.0))
    watch = Watch([7], proc=tmp_path)
    clock[0] += 10
    write(tmp_path, busy_s=(0.0, 0.0), stolen_s=2.0)

    assert watch.stop(CALM).stolen == pytest.approx(0.2)


def test_a_system_that_does_not_tell_leaves_none(tmp_path: Path) -> None:
    seen = Watch([7], proc=tmp_path / "nowhere").stop(CALM)

    assert (seen.other_load, seen.stolen) == (None, None)


def test_blocks_that_disagree_are_restless() -> None:
    steady = [np.full(5, 1.0 + 0.01 * n) for n in range(5)]
    drifting = [np.full(5, 1.0 + 0.1 * n) for n in range(5)]

    assert spread_of(steady) < RESTLESS < spread_of(drifting)
    assert not Watch([]).stop({"calm": steady, "restless": drifting}).calm


def test_one_slow_sample_in_a_block_does_not_make_it_restless() -> None:
    blocks = [np.array([1.0, 1.0, 1.0, 50.0]) for _ in range(5)]

    assert spread_of(blocks) == 0.0


def test_several_sets_of_timings_are_one_by_their_means_and_the_worst_spread() -> None:
    calm = Interference(0.1, 0.2, None, (2000.0, 1900.0))
    restless = Interference(0.3, 0.4, None, (1900.0, 1500.0))

    assert together([calm, restless]) == Interference(0.3, pytest.approx(0.3), None, (2000.0, 1500.0))

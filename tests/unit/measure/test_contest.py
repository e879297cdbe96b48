"""Models timed in turns in processes of their own, and timings taken again when the blocks disagree."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressor.errors import MeasurementError
from compressor.measure import contest
from compressor.measure.contest import Entry, hold, operator_times, threads_of
from compressor.recipe import ProfileSettings

EDGE = ProfileSettings(threads=1, batch=1)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    file = tmp_path / "inputs.npy"
    np.save(file, np.ones((4, 2), dtype=np.float32))
    return file


def fake(folder: Path, ms: float) -> Entry:
    file = folder / f"{ms}.json"
    file.write_text(json.dumps({"weights": [[1.0], [1.0]], "ms_per_call": ms}))
    return Entry(file, "fake")


def test_each_model_has_its_times_its_memory_and_its_first_answer(tmp_path: Path, inputs: Path) -> None:
    entries = {"slow": fake(tmp_path, 6.0), "fast": fake(tmp_path, 2.0)}

    outcome = hold(entries, profile=EDGE, inputs=inputs, blocks=4, min_seconds=0.1, min_samples=8, max_warm_seconds=0.2)

    medians = {name: float(np.median(found.timing.samples_ms)) for name, found in outcome.models.items()}
    assert medians == {"slow": pytest.approx(6.0, rel=0.3), "fast": pytest.approx(2.0, rel=0.3)}
    for found in outcome.models.values():
        assert len(found.timing.blocks) == 4
        assert found.ready.first_ms > 0
        assert 0 < found.ready.before_mb <= found.memory_mb <= found.peak_memory_mb


def test_restless_timings_are_taken_again_and_the_calmest_kept(
    tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spreads = iter([0.5, 0.2, 0.9])
    stop = contest.Watch.stop

    def restless(self: contest.Watch, blocks: Any) -> contest.Interference:
        return replace(stop(self, blocks), spread=next(spreads))

    monkeypatch.setattr(contest.Watch, "stop", restless)
    monkeypatch.setattr(contest, "spread_of", lambda blocks: 0.2)

    outcome = hold(
        {"it": fake(tmp_path, 1.0)},
        profile=EDGE,
        inputs=inputs,
        blocks=2,
        min_seconds=0.01,
        min_samples=4,
        attempts=3,
        max_warm_seconds=0.1,
    )

    assert (outcome.interference.spread, outcome.interference.attempts) == (0.2, 3)
    assert not outcome.interference.calm


def test_processes_are_started_anew_for_each_share_of_the_blocks(
    tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    warm = contest.clock.warm_until_steady
    begin = contest._started

    def noted(entries: dict[str, Entry], **given: Any) -> Any:
        started.append(list(entries))
        return begin(entries, **given)

    monkeypatch.setattr(contest, "_started", noted)
    monkeypatch.setattr(contest.clock, "warm_until_steady", lambda model, max_seconds: warm(model, max_seconds=0.05))

    outcome = hold(
        {"a": fake(tmp_path, 0.5), "b": fake(tmp_path, 0.6)},
        profile=EDGE,
        inputs=inputs,
        blocks=5,
        min_seconds=0.05,
        min_samples=10,
        starts=3,
    )

    assert started == [["a", "b"], ["b", "a"], ["a", "b"]], "whoever is first changes"
    for found in outcome.models.values():
        assert (len(found.timing.blocks), found.starts) == (5, 3)


def test_a_profile_that_asks_for_all_cores_gets_those_it_may_use() -> None:
    assert threads_of(ProfileSettings(threads=0)) >= 1
    assert threads_of(ProfileSettings(threads=10_000)) == threads_of(ProfileSettings(threads=0))


def test_too_little_memory_is_told_with_the_name_of_the_model(tmp_path: Path, inputs: Path) -> None:
    starved = ProfileSettings(threads=1, memory_mb=5)

    with pytest.raises(MeasurementError) as told:
        hold({"it": fake(tmp_path, 1.0)}, profile=starved, inputs=inputs, blocks=2, min_seconds=0.01, min_samples=2)

    assert "1.0.json" in (told.value.where or "")


def test_operators_come_from_the_runtime_under_the_same_conditions(tmp_path: Path, inputs: Path) -> None:
    (only,) = operator_times(fake(tmp_path, 1.0), profile=EDGE, inputs=inputs, runs=2)

    assert (only.op, only.ms) == ("MatMul", 1.0)

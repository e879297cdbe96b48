"""Measurements of any version are read, and today's are written as they always were."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from compressor.measure.record import (
    Accuracy,
    Budget,
    Candidate,
    Measurements,
    Paired,
    Timing,
    accuracy,
    measurements_json,
)
from compressor.plain_records import as_json, read
from compressor.scores import Metric, Wording
from tests import records

ONCE: dict[str, Any] = {
    "role": "student",
    "runtime": "ort_cpu",
    "profile": "edge",
    "threads": 1,
    "batch": 1,
    "samples": 100,
    "mean_ms": 2.0,
    "p50_ms": 2.0,
    "p50_interval": [1.9, 2.1],
    "p90_ms": 2.0,
    "p99_ms": None,
    "throughput_per_s": 500.0,
    "load_ms": None,
    "first_ms": None,
    "peak_memory_mb": None,
    "speedup": {"ratio": 2.0, "low": 1.9, "high": 2.1, "against": "teacher"},
}
"""As the first version wrote it, which did not count starts."""

JUDGED: dict[str, Any] = {
    "samples": 100,
    "metrics": {"accuracy": 0.9},
    "primary": "accuracy",
    "metric": {"name": "accuracy", "unit": "%", "larger_is_better": True},
    "interval": [0.8, 0.95],
    "majority": None,
    "per_class": [{"name": "cat", "samples": 100, "accuracy": 0.9}],
    "reliability": [],
}
"""As `evaluate` gives it."""


def test_of_a_timing_that_does_not_say_how_often_it_was_started_no_interval_is_kept() -> None:
    found = read(Timing, ONCE)

    assert (found.starts, found.p50_interval) == (1, None)
    assert found.speedup is not None
    assert (found.speedup.ratio, found.speedup.low) == (2.0, None)


def test_sizes_are_written_where_an_axis_varies_and_stand_beside_the_profile() -> None:
    fixed, of_text = records.timing("student"), records.timing("student", sizes={"tokens": 16})

    assert "sizes" not in as_json(fixed)
    assert list(as_json(of_text))[:5] == ["role", "runtime", "profile", "sizes", "threads"]


@pytest.mark.parametrize(
    ("test", "keys"),
    [
        (
            Paired("teacher", 0, 3, 0.1, 0.0, 0.2, 0.04),
            ["base_only", "other_only", "difference", "low", "high", "p_value"],
        ),
        (
            Paired("teacher", difference=0.1, low=0.0, high=0.2, p_value=0.04, resamples=2000),
            ["difference", "low", "high", "p_value", "resamples"],
        ),
    ],
    ids=["counted", "resampled"],
)
def test_a_paired_test_is_written_with_what_it_was_made_of(test: Paired, keys: list[str]) -> None:
    assert list(as_json(test)) == ["against", *keys]
    assert read(Paired, as_json(test)) == test


def test_a_device_writes_no_tables_of_decisions_and_a_run_writes_them_though_there_are_none() -> None:
    there = accuracy(JUDGED, runtime="ort_cpu")
    here = replace(there, confusion=None)

    assert "confusion" not in as_json(there)
    assert [as_json(here)[name] for name in ("confusion", "confusion_with_base", "sets_with_base")] == [None, None, []]


def test_what_evaluate_gives_is_written_as_it_gave_it() -> None:
    told = as_json(accuracy(JUDGED, runtime="ort_cpu"))

    assert json.dumps({name: told[name] for name in JUDGED}) == json.dumps(JUDGED)
    assert read(Accuracy, told) == accuracy(JUDGED, runtime="ort_cpu")


def test_a_budget_without_a_value_is_missed_whatever_the_file_says() -> None:
    assert not read(Budget, {"budget": "max_size_mb", "limit": 1, "unit": "MB", "met": True}).met


def test_measurements_begin_with_their_form_and_are_read_again() -> None:
    found = Measurements(
        run="r",
        task="classification",
        metric="accuracy",
        classes=("cat",),
        label_sets=False,
        of_numbers=False,
        wording=Wording(),
        units=(Metric("accuracy"),),
        base="student",
        candidates=(Candidate("student", "Student", 10, None, {"onnx": 5}, (accuracy(JUDGED, runtime="ort_cpu"),)),),
        timings=(records.timing("student"),),
    )

    told = json.loads(json.dumps(measurements_json(found)))

    assert next(iter(told)) == "schema"
    assert read(Measurements, told) == found

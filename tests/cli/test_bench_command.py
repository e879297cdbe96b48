"""`compress bench`: options that mean nothing together are refused, and a budget counts on another machine too."""

from __future__ import annotations

import json

import pytest

from compressor.cli import _results
from compressor.errors import BudgetMissedError
from tests.small import typed


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("--host", "pi", "--max-drop", "1"), "--max-drop"),
        (("--host", "pi", "--runtimes", "torch"), "--runtimes"),
        (("--training", "--max-latency-ms", "5"), "--max-latency-ms"),
        (("--training", "--host", "pi"), "--host"),
    ],
)
def test_an_option_that_would_be_dropped_is_refused(monkeypatch, capsys, words, option):
    assert typed(monkeypatch, "bench", *words) == 2

    said = capsys.readouterr().err
    assert f"{option} means nothing beside it" in said
    assert f"leave {option} out" in said


def timed_there(role, p50_ms):
    """What a pack writes of one model under one profile."""
    numbers = {"mean_ms": p50_ms, "p50_ms": p50_ms, "p90_ms": p50_ms, "p99_ms": None, "throughput_per_s": 1000 / p50_ms}
    memory = {"load_ms": 1.0, "first_ms": p50_ms, "peak_memory_mb": 10.0}
    return (
        {"role": role, "runtime": "ort_cpu", "profile": "edge", "threads": 1, "batch": 1, "samples": 9}
        | numbers
        | memory
    )


def test_a_student_too_slow_on_another_machine_misses_its_budget(tmp_path):
    told = {"schema": 1, "name": "pi", "created": "2026-12-01T00:00:00+00:00", "versions": {}, "models": {}}
    told["machine"] = {"cpu": "Cortex-A72", "architecture": "aarch64", "isa": []}
    told["timings"] = [timed_there("teacher", 9.0), timed_there("student", 6.0)]
    judged = {
        "runtime": "ort_cpu",
        "split": "test",
        "samples": 9,
        "metrics": {"accuracy": 1.0},
        "primary": "accuracy",
        "per_class": [],
    }
    told["accuracy"] = {"teacher": judged, "student": judged}
    told["parity"] = {"teacher": {"agreement": 1.0}, "student": {"agreement": 1.0}}
    (tmp_path / "pi.json").write_text(json.dumps(told))

    _results.raise_too_slow_there(tmp_path / "pi.json", 6.0)
    with pytest.raises(BudgetMissedError, match="max_latency_ms = 5 ms, measured 6 there"):
        _results.raise_too_slow_there(tmp_path / "pi.json", 5.0)


def test_a_name_for_a_run_that_has_one_is_refused(tmp_path, monkeypatch, capsys):
    assert typed(monkeypatch, "bench", "--runs", str(tmp_path), "--name", "other") == 2

    assert "--name: names a comparison" in capsys.readouterr().err

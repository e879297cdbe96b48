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


def test_a_student_too_slow_on_another_machine_misses_its_budget(tmp_path):
    timings = [{"role": "teacher", "p50_ms": 9.0}, {"role": "student", "p50_ms": 6.0}]
    (tmp_path / "pi.json").write_text(json.dumps({"schema": 1, "models": {}, "timings": timings}))

    _results.raise_too_slow_there(tmp_path / "pi.json", 6.0)
    with pytest.raises(BudgetMissedError, match="max_latency_ms = 5 ms, measured 6 there"):
        _results.raise_too_slow_there(tmp_path / "pi.json", 5.0)


def test_a_name_for_a_run_that_has_one_is_refused(tmp_path, monkeypatch, capsys):
    assert typed(monkeypatch, "bench", "--runs", str(tmp_path), "--name", "other") == 2

    assert "--name: names a comparison" in capsys.readouterr().err

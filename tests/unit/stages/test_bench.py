"""What a bench decides before it measures."""

from __future__ import annotations

from compressor.recipe import BenchSettings
from compressor.stages.bench import Candidate, _budgets, _timed_base


def test_speed_is_held_against_the_base() -> None:
    candidates = [Candidate("teacher", "Teacher"), Candidate("control", "Control", timed=False)]

    assert _timed_base(candidates, "teacher") == "teacher"


def test_without_a_teacher_speed_is_held_against_the_first_that_is_timed() -> None:
    candidates = [Candidate("control", "Control", timed=False), Candidate("distilled", "D"), Candidate("student", "S")]

    assert _timed_base(candidates, "control") == "distilled"


def judged(runtime: str, accuracy: float) -> dict:
    return {"runtime": runtime, "metrics": {"accuracy": accuracy}}


def test_budgets_are_those_of_the_exported_file_whatever_else_was_measured() -> None:
    runtimes = ("torch", "torch_compile", "ort_cpu")
    measured = [
        {"role": role, "accuracy": [judged(each, value) for each, value in zip(runtimes, values, strict=True)]}
        | {"size_bytes": {"onnx": 2_000_000}}
        for role, values in (("teacher", (0.9, 0.9, 0.95)), ("student", (0.9, 0.9, 0.94)))
    ]
    timed = [
        {"role": "student", "runtime": runtime, "profile": "edge", "p50_ms": ms}
        for runtime, ms in (("torch", 9.0), ("torch_compile", 3.0), ("ort_cpu", 5.0))
    ]
    settings = BenchSettings(profiles=("edge",), max_drop=1.0, max_latency_ms=4.0, max_size_mb=2.0)

    drop, latency, size = _budgets(settings, measured, timed, base="teacher", metric="accuracy")

    assert drop["met"], "a drop of exactly what is accepted"
    assert (latency["value"], latency["met"]) == (5.0, False)
    assert size["met"]

"""Tests of `compressor.report.headline`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from compressor.measure.record import Speedup
from compressor.report.collect import collect
from compressor.report.facts import Headline, ReportData
from compressor.report.headline import judge
from compressor.scores import Metric

if TYPE_CHECKING:
    from tests.unit.report.conftest import MakeRun


def _with_accuracy(data: ReportData, role: str, value: float) -> Headline:
    """The headline after one model's accuracy has been changed on every runtime."""
    candidates = tuple(
        replace(entry, accuracy=tuple(replace(a, metrics={**a.metrics, "accuracy": value}) for a in entry.accuracy))
        if entry.role == role
        else entry
        for entry in data.candidates
    )
    return judge(candidates, data.timings, data.budgets, metric=Metric("accuracy"), base="teacher")


def _with_speedup(data: ReportData, speedup: Speedup) -> Headline:
    timings = tuple(replace(timing, speedup=speedup) if timing.role == "student" else timing for timing in data.timings)
    return judge(data.candidates, timings, data.budgets, metric=Metric("accuracy"), base="teacher")


def _with_budgets(make_run: MakeRun, *budgets: dict[str, Any]) -> Headline:
    return collect(make_run(change=lambda measurements: measurements.update(budgets=list(budgets)))).headline


def test_the_student_is_judged_on_the_exported_model(data: ReportData) -> None:
    head = data.headline
    assert (head.runtime, head.teacher_runtime, head.profile, head.samples) == ("ort_cpu", "ort_cpu", "edge", 270)


def test_the_sentence_holds_accuracy_speed_and_size(data: ReportData) -> None:
    sentence = data.headline.sentence
    assert "97.41 % accuracy where the teacher reaches 98.52 %" in sentence
    assert "7.94× (7.86–8.03) as fast as the teacher on ONNX Runtime CPU (1 thread, batch 1)" in sentence
    assert "23.1× smaller (50.3 kB instead of 1.16 MB)" in sentence


def test_a_small_drop_is_called_noise(data: ReportData) -> None:
    assert data.headline.change == pytest.approx(-0.0111)
    assert data.headline.change_within_noise is True
    assert "within the noise of 270 test samples" in data.headline.sentence


def test_a_large_drop_is_not_called_noise(data: ReportData) -> None:
    head = _with_accuracy(data, "student", 0.90)
    assert head.change_within_noise is False
    assert "noise" not in head.sentence


@pytest.mark.parametrize(
    ("control", "words"),
    [
        (0.90, "The teacher helped: +7.41 points"),
        (0.97, "cannot be told: +0.41 points"),
        (0.999, "The teacher hurt: −2.49 points"),
    ],
)
def test_the_control_tells_what_the_teacher_gave(data: ReportData, control: float, words: str) -> None:
    assert words in _with_accuracy(data, "control", control).gain_sentence


def test_what_a_cut_lost_is_not_the_teachers_fault(make_run: MakeRun) -> None:
    def cut_to_little(measurements: dict[str, Any]) -> None:
        for candidate in measurements["candidates"]:
            for entry in candidate["accuracy"] if candidate["role"] == "student" else ():
                entry["metrics"]["accuracy"] = 0.80

    head = collect(make_run(roles=("teacher", "control", "distilled", "student"), change=cut_to_little)).headline

    assert head.gain == pytest.approx(0.9777 - 0.9519)
    assert head.gain_sentence == (
        "The teacher helped: +2.58 points over the same student trained without the teacher, both before any further link."
    )


def test_a_slower_student_is_called_slower(data: ReportData) -> None:
    head = _with_speedup(data, Speedup(0.8, 0.78, 0.83, "teacher"))
    assert "is slower than the teacher on ONNX Runtime CPU: 0.800× (0.780–0.830) its speed" in head.sentence


def test_a_speedup_whose_interval_holds_one_is_no_difference(data: ReportData) -> None:
    head = _with_speedup(data, Speedup(1.02, 0.97, 1.06, "teacher"))
    assert "shows no difference in speed" in head.sentence


def test_without_a_teacher_export_the_speedup_is_against_pytorch_and_says_so(make_run: MakeRun) -> None:
    head = collect(make_run(exported=("student",))).headline
    assert "as fast as the teacher in PyTorch" in head.sentence
    assert (head.teacher_runtime, head.size_payload) == ("torch", "torch")


def test_without_a_student_there_is_nothing_to_compare(make_run: MakeRun) -> None:
    head = collect(make_run(roles=("teacher",))).headline
    assert head.sentence == "No student was measured, so there is nothing to compare with the teacher."


def test_without_a_teacher_the_student_stands_alone(make_run: MakeRun) -> None:
    head = collect(make_run(roles=("student",))).headline
    assert head.sentence.startswith("The student reaches 97.41 % accuracy and answers in 0.05")


def test_one_missed_budget_decides_the_verdict(make_run: MakeRun) -> None:
    met = {"budget": "max_drop", "limit": 2.0, "value": 1.1, "unit": "points", "met": True}
    missed = {"budget": "max_size_mb", "limit": 0.01, "value": 0.05, "unit": "MB", "met": False}
    head = _with_budgets(make_run, met, missed)
    assert (head.verdict, head.verdict_sentence) == ("missed", "Missed: max_size_mb (1 of 2 budgets).")


def test_a_budget_that_could_not_be_measured_is_missed(make_run: MakeRun) -> None:
    head = _with_budgets(
        make_run, {"budget": "max_latency_ms", "limit": 2.0, "value": None, "unit": "ms", "met": False}
    )
    assert (head.verdict, head.verdict_sentence) == ("missed", "Missed: max_latency_ms.")


def test_a_control_without_export_is_compared_with_the_student_in_pytorch(make_run: MakeRun) -> None:
    def other_in_pytorch(measurements: dict[str, Any]) -> None:
        measurements["candidates"][2]["accuracy"][0]["metrics"]["accuracy"] = 0.98

    head = collect(make_run(exported=("teacher", "student"), change=other_in_pytorch)).headline
    assert head.student == 0.9741
    assert head.gain == pytest.approx(0.98 - 0.9519)


def test_no_budget_gives_no_verdict(make_run: MakeRun) -> None:
    assert _with_budgets(make_run).verdict == "none"


def test_of_a_network_that_was_only_quantized_nothing_is_said_of_a_teacher(data: ReportData) -> None:
    head = judge(data.candidates, data.timings, data.budgets, metric=data.primary, base=data.base, distilled=False)

    assert head.gain_sentence == ""
    assert "teacher" in head.sentence


def test_quantization_that_gained_no_speed_is_said_to_be_kept_for_its_size(data: ReportData) -> None:
    def said(*, kept_for_size: bool) -> str:
        facts = (data.candidates, data.timings, data.budgets)
        return judge(*facts, metric=Metric("accuracy"), base="teacher", kept_for_size=kept_for_size).sentence

    assert said(kept_for_size=True).endswith(
        ". Quantization is kept for its size: no gain in speed over float was shown."
    )
    assert "kept for its size" not in said(kept_for_size=False)


def test_the_sentence_says_which_length_a_speedup_is_of(data: ReportData) -> None:
    timings = tuple(replace(each, sizes={"tokens": 16}) for each in data.timings)

    head = judge(data.candidates, timings, data.budgets, metric=Metric("accuracy"), base="teacher")

    assert "(1 thread, batch 1, 16 tokens)" in head.sentence

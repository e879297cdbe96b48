"""The table of links says what each one gave and cost, and which one to drop."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compressor.measure.record import Candidate
from compressor.report import links
from compressor.report.collect import collect
from compressor.report.facts import ReportData


def with_a_link_between(data: ReportData, *, role: str, ms: float, size: int) -> ReportData:
    """The measured run with one more model between teacher and student, `ms` times the student's latency."""
    student = data.candidate("student")
    assert student is not None
    between = replace(student, role=role, title=role.capitalize(), size_bytes={"onnx": size})
    timings = [
        replace(timing, role=role, p50_ms=ms * timing.p50_ms, samples_ms=tuple(ms * s for s in timing.samples_ms))
        for timing in data.timings
        if timing.role == "student"
    ]
    others: list[Candidate] = [candidate for candidate in data.candidates if candidate.role != "student"]
    return replace(data, candidates=(*others, between, student), timings=(*data.timings, *timings))


def test_every_row_is_held_against_the_row_above(data):
    changed = with_a_link_between(data, role="distilled", ms=2.0, size=100_000)

    teacher, distilled, student = links.steps(changed)

    assert (teacher.candidate.role, distilled.candidate.role, student.candidate.role) == (
        "teacher",
        "distilled",
        "student",
    )
    assert teacher.faster is None
    assert student.faster is not None
    assert student.faster.ratio == pytest.approx(2.0)
    assert student.change == pytest.approx(0.0)


def test_the_control_is_no_link(data):
    assert "Control" not in [row[0] for row in links.table(data).rows]


def test_a_link_that_makes_it_slower_and_no_smaller_is_to_be_dropped(data):
    size = data.candidate("student").size_bytes["onnx"]
    changed = with_a_link_between(data, role="distilled", ms=0.5, size=size)

    assert links.table(changed).rows[-1][-1] == "slower: drop this link"


@pytest.mark.parametrize(("smaller", "verdict"), [(1, "not told by one start"), (4, "smaller")])
def test_one_start_calls_no_link_faster_and_drops_none(data, smaller, verdict):
    size = data.candidate("student").size_bytes["onnx"]
    once = replace(data, timings=tuple(replace(timing, starts=1) for timing in data.timings))
    changed = with_a_link_between(once, role="distilled", ms=2.0, size=smaller * size)

    assert links.table(changed).rows[-1][-1] == verdict


def test_a_link_that_only_makes_it_smaller_says_so(data):
    size = data.candidate("student").size_bytes["onnx"]
    changed = with_a_link_between(data, role="distilled", ms=1.0, size=4 * size)

    assert links.table(changed).rows[-1][-1] == "smaller"


PRUNING = {
    "sensitivity": [
        {"group": "conv1", "layers": ["conv1"], "width": 16, "scores": [[12, 0.9], [8, 0.7], [4, 0.2]]},
        {"group": "conv2", "layers": ["conv2"], "width": 8, "scores": [[6, 0.95], [4, 0.9], [2, 0.85]]},
    ],
    "widths": [{"layer": "conv1", "kind": "Conv2d", "before": 16, "after": 8}],
    "spared": {"fc": "it gives the output"},
}


def test_sensitivity_shows_each_group_at_each_width(data):
    pruned = replace(data, links=(*data.links, replace(data.links[0], pruning=PRUNING)))

    figure = links.sensitivity(pruned)

    assert figure is not None
    assert [trace["name"] for trace in figure.traces] == ["75% kept", "50% kept", "25% kept"]
    assert figure.rows[0] == ("conv1", "16", "90.00 %", "70.00 %", "20.00 %")
    assert links.widths(pruned).rows == (("conv1", "Conv2d", "16", "8", "50%"),)
    assert links.spared(pruned).rows == (("fc", "it gives the output"),)


def test_a_run_without_pruning_has_no_sensitivity(data):
    assert links.sensitivity(data) is None
    assert links.widths(data).rows == ()


QUANTIZATION = {
    "method": "static",
    "target": {
        "name": "x86-avx2",
        "activations": "uint8",
        "weights": "int8",
        "reduce_range": True,
        "reason": "no VNNI",
    },
    "checked_on_cpu": "Example CPU",
    "checked_on_isa": ["avx2"],
    "calibration_samples": 512,
    "layers": [{"layer": "conv", "op": "Conv", "float": True, "gain_ms": -0.5, "harm": 0.01}],
}


def test_the_report_says_for_which_cpu_a_model_is_and_where_its_accuracy_was_checked(data):
    quantized = replace(data, links=(*data.links, replace(data.links[0], quantization=QUANTIZATION)))

    said = dict(links.quantization(quantized).rows)
    assert said["Made for"] == "x86-avx2: uint8 activations, int8 weights in 7 bits"
    assert said["Accuracy checked on"] == "Example CPU (avx2)"
    assert links.quantized_layers(quantized).rows[0][:3] == ("conv", "Conv", "yes")


def test_the_report_says_what_a_drop_was_judged_on_and_what_int8_is_kept_for(data):
    told = {
        **QUANTIZATION,
        "kept_for": "size",
        "drop_judged_on": "24 validation samples; a drop of less than 25 points",
    }
    quantized = replace(data, links=(*data.links, replace(data.links[0], quantization=told)))

    said = dict(links.quantization(quantized).rows)
    assert said["Drop judged on"].startswith("24 validation samples")
    assert said["Kept for"] == "its size: no gain in speed was shown"


def test_a_run_without_quantization_says_nothing_of_it(data):
    assert links.quantization(data).rows == ()
    assert links.quantized_layers(data).rows == ()


def test_what_was_tried_and_does_not_ship_is_called_that(data):
    tried = {**QUANTIZATION, "ships": False}
    quantized = replace(data, links=(*data.links, replace(data.links[0], quantization=tried)))

    assert dict(links.quantization(quantized).rows)["Method"].startswith("static (tried; what ships is the float model")
    assert links.quantized_layers(quantized).caption == "Layers of the quantized model, which does not ship"


def test_a_link_that_nothing_was_measured_of_is_not_judged(make_run):
    told = collect(make_run(exported=("control", "student")))

    assert links.table(told).rows[-1][-1] == "not compared with the row above"


def test_a_link_that_only_makes_it_more_accurate_says_so(data):
    student = data.candidate("student")
    alike = with_a_link_between(data, role="distilled", ms=1.0, size=student.size_bytes["onnx"])
    (worse,) = (each for each in alike.candidates if each.role == "distilled")
    accuracy = tuple(replace(entry, metrics={**entry.metrics, "accuracy": 0.5}) for entry in worse.accuracy)
    candidates = [replace(each, accuracy=accuracy) if each is worse else each for each in alike.candidates]

    assert links.table(replace(alike, candidates=tuple(candidates))).rows[-1][-1] == "more accurate"


def after_a_loss(data: ReportData, *, student_accuracy: float) -> str:
    """The verdict on a link that halves the size of a model that was always right."""
    student = data.candidate("student")
    smaller = with_a_link_between(data, role="distilled", ms=1.0, size=2 * student.size_bytes["onnx"])
    (before,) = (each for each in smaller.candidates if each.role == "distilled")
    accuracy = tuple(replace(entry, metrics={**entry.metrics, "accuracy": 1.0}) for entry in before.accuracy)
    much_worse = replace(
        student,
        accuracy=tuple(replace(e, metrics={**e.metrics, "accuracy": student_accuracy}) for e in student.accuracy),
    )
    changed = {"distilled": replace(before, accuracy=accuracy), "student": much_worse}
    candidates = tuple(changed.get(each.role, each) for each in smaller.candidates)

    return links.table(replace(smaller, candidates=candidates)).rows[-1][-1]


def test_a_link_that_really_loses_accuracy_says_so_beside_what_it_gained(data):
    unlimited = replace(data, budgets=())

    assert after_a_loss(unlimited, student_accuracy=0.93) == "smaller, but less accurate"


@pytest.mark.parametrize(("student_accuracy", "points"), [(0.178, 82.2), (0.89, 11.0)])
def test_a_link_that_ruins_the_network_is_the_one_to_drop(data, student_accuracy, points):
    unlimited = replace(data, budgets=())

    assert after_a_loss(unlimited, student_accuracy=student_accuracy) == f"costs {points} points: drop this link"


def test_a_stated_drop_is_the_limit_of_a_link(data):
    """The run accepts 2 points; a link may say that it may cost more."""
    assert after_a_loss(data, student_accuracy=0.93) == "costs 7.0 points: drop this link"
    told = replace(data.links[0], settings={"training": {"max_drop": 20.0}})

    assert after_a_loss(replace(data, links=(told,)), student_accuracy=0.83) == "smaller, but less accurate"

"""Where the time goes, what disturbed the clock, and other devices: from numbers made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compressor.measure.record import CurvePoint, Interference, Operator, OperatorTimes
from compressor.report import commands, links, speed
from compressor.report.facts import ReportData
from compressor.report.figures import accuracy_against_latency, pareto_front
from tests import records

CALM = Interference("edge", 0.02, 0.01, 0.0, None, 1, True)
RESTLESS = Interference("server", 0.31, 0.5, 0.0, None, 3, False)


def point(role: str, batch: int, *, threads: int = 1, ms: float = 1.0) -> CurvePoint:
    latencies = {"p50_ms": ms, "p90_ms": ms * 1.1, "throughput_per_s": 1000 * batch / ms}
    return records.curve_point(role, profile="server", threads=threads, batch=batch, **latencies)


def times(role: str, **by_op: float) -> OperatorTimes:
    listed = tuple(
        Operator(f"{op}_{n}", op, "CPUExecutionProvider", ms / 2) for op, ms in by_op.items() for n in range(2)
    )
    return OperatorTimes(role, "ort_cpu", "edge", listed)


def test_throughput_grows_along_a_line_for_each_model_and_number_of_threads(data: ReportData) -> None:
    points = (point("teacher", 8, ms=8), point("teacher", 1), point("student", 1, threads=2), point("student", 1))

    figure = speed.throughput(replace(data, curves=points), "server")

    assert figure is not None
    assert [trace["name"] for trace in figure.traces] == [
        "Teacher, 1 thread",
        "Student, 2 threads",
        "Student, 1 thread",
    ]
    assert figure.traces[0]["x"] == [1.0, 8]
    assert figure.traces[0]["line"]["dash"] != figure.traces[1]["line"]["dash"]


def test_operators_are_stacked_by_kind_and_add_up(data: ReportData) -> None:
    figure = speed.operators(
        replace(data, operators=(times("teacher", Conv=3.0, Relu=1.0), times("student", Conv=0.5)))
    )

    assert figure is not None
    assert {trace["name"]: trace["x"] for trace in figure.traces} == {"Conv": [3.0, 0.5], "Relu": [1.0, 0.0]}
    assert figure.rows[0] == ("Teacher · ONNX Runtime CPU", "Conv", "3.00 ms", "75.00 %")


def test_rare_kinds_are_others(data: ReportData) -> None:
    many = {f"Op{number}": 10.0 - number for number in range(10)}

    figure = speed.operators(replace(data, operators=(times("student", **many),)))

    assert figure is not None
    names = [trace["name"] for trace in figure.traces]
    assert names[-1] == "others"
    assert sum(trace["x"][0] for trace in figure.traces) == pytest.approx(sum(many.values()))


def test_the_slowest_nodes_say_what_ran_them(data: ReportData) -> None:
    table = speed.nodes(replace(data, operators=(times("student", Conv=2.0, Gemm=6.0),)))

    assert table.rows[0] == ("Gemm_0", "Gemm", "CPUExecutionProvider", "3.00 ms", "37.50 %")
    assert speed.providers(replace(data, operators=(times("student", Conv=1.0),))).rows == (
        ("Student", "ONNX Runtime CPU", "2 on CPUExecutionProvider"),
    )


def test_a_restless_machine_is_told_on_the_first_screen(data: ReportData) -> None:
    assert speed.unrest(replace(data, interference=(CALM,))) == ""

    sentence = speed.unrest(replace(data, interference=(CALM, RESTLESS)))

    assert "restless under server" in sentence
    assert "31 % apart after 3 attempts; other work took 50 % of the cores" in sentence


def test_nothing_that_another_beats_in_both_is_on_the_front(data: ReportData) -> None:
    assert pareto_front([(3.0, 0.9), (1.0, 0.8), (2.0, 0.7), (1.0, 0.85)]) == [(1.0, 0.85), (3.0, 0.9)]

    figure = accuracy_against_latency(data)
    assert figure is not None
    assert figure.traces[0]["mode"] == "lines"


def test_two_models_need_no_waterfall(data: ReportData) -> None:
    assert links.waterfall(data) is None


def test_each_link_hangs_from_the_one_before(data: ReportData) -> None:
    teacher, student = data.candidate("teacher"), data.candidate("student")
    assert teacher is not None
    assert student is not None
    middle = replace(student, role="distilled", title="Distilled")
    between = tuple(
        replace(each, role="distilled", p50_ms=0.2)
        for each in data.timings
        if each.role == "student" and each.runtime == data.headline.runtime
    )
    chained = replace(data, candidates=(teacher, middle, student), timings=(*data.timings, *between))

    figure = links.waterfall(chained)

    assert figure is not None
    bars = figure.traces[0]
    tops = [base + height for base, height in zip(bars["base"], bars["y"], strict=True)]
    assert bars["base"][0] == 0
    assert tops[1] == pytest.approx(tops[0])
    assert bars["base"][1] == pytest.approx(tops[2]) == pytest.approx(0.2)


def test_every_figure_says_which_command_makes_it_again(data: ReportData) -> None:
    here = replace(data, folder="runs/my run", command="compress run runs/x/recipe.json")

    assert commands.command_of(here, "latency-1") == "compress bench 'runs/my run' --again"
    assert commands.command_of(here, "training-loss") == "compress run runs/x/recipe.json"
    assert commands.command_of(here, "operators") == "compress bench 'runs/my run' --again"
    assert commands.command_of(replace(here, folder=""), "operators") == ""

"""Tests of `compressor.report.figures`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from compressor.report import figures as drawing
from compressor.report.collect import collect
from compressor.report.facts import ReportData

if TYPE_CHECKING:
    from tests.unit.report.conftest import MakeRun


def test_a_complete_run_has_every_figure(data: ReportData) -> None:
    names = [figure.name for figure in drawing.figures(data)]
    assert names == [
        "accuracy-against-latency",
        "latency-0",
        "latency-1",
        "speedup-by-block",
        "accuracy-per-class",
        "training-metric",
        "training-loss",
        "sizes",
    ]


def test_every_figure_is_json_and_has_the_same_numbers_as_a_table(data: ReportData) -> None:
    figures = drawing.figures(data)
    assert figures
    for figure in figures:
        json.dumps({"data": figure.traces, "layout": figure.layout}, allow_nan=False)
        assert figure.rows
        assert all(len(row) == len(figure.columns) for row in figure.rows)


def test_boxes_are_the_percentiles_of_the_samples(data: ReportData) -> None:
    figure = drawing.latency_distribution(data, "edge")
    assert figure is not None
    first = next(timing for timing in data.timings if timing.profile == "edge")
    assert figure.traces[0]["median"] == [pytest.approx(np.median(first.samples_ms))]


def test_block_ratios_are_ratios_of_medians(data: ReportData) -> None:
    teacher, student = data.timing("teacher", "ort_cpu", "edge"), data.timing("student", "ort_cpu", "edge")
    assert teacher is not None
    assert student is not None
    ratios = drawing.block_ratios(base=teacher, candidate=student)
    assert len(ratios) == 20
    assert ratios[0] == pytest.approx(np.median(teacher.samples_ms[:20]) / np.median(student.samples_ms[:20]))


def test_of_many_classes_only_those_that_differ_most_are_drawn(make_run: MakeRun) -> None:
    figure = drawing.accuracy_per_class(collect(make_run(classes=[f"class {n}" for n in range(120)])))
    assert figure is not None
    assert len(figure.layout["yaxis"]["tickvals"]) == drawing.MAX_CLASSES_SHOWN
    assert len(figure.rows) == 120
    assert "40 of 120 classes" in figure.caption


def test_a_class_without_samples_is_left_out_of_the_picture(make_run: MakeRun) -> None:
    def empty(measurements: dict[str, list[dict[str, list[dict[str, list[dict[str, object]]]]]]]) -> None:
        for candidate in measurements["candidates"]:
            for entry in candidate["accuracy"]:
                entry["per_class"][4] |= {"samples": 0, "accuracy": None}

    figure = drawing.accuracy_per_class(collect(make_run(change=empty)))
    assert figure is not None
    assert len(figure.traces[0]["y"]) == 9
    assert figure.rows[4] == ("4", "0", "–", "–", "–")


def test_without_timings_the_figures_of_speed_are_left_out(make_run: MakeRun) -> None:
    data = collect(make_run(change=lambda measurements: measurements.update(timings=[])))
    assert [figure.name for figure in drawing.figures(data)] == [
        "accuracy-per-class",
        "training-metric",
        "training-loss",
        "sizes",
    ]


def test_long_class_names_stand_in_rows_and_short_ones_side_by_side(make_run: MakeRun, data: ReportData) -> None:
    rows = drawing.accuracy_per_class(collect(make_run(classes=[f"a long class name {n}" for n in range(10)])))
    columns = drawing.accuracy_per_class(data)
    assert rows is not None
    assert columns is not None
    assert rows.layout["yaxis"]["ticktext"][0] == "a long class name 0"
    assert columns.layout["xaxis"]["ticktext"][0] == "0"
    assert rows.traces[0]["x"] == columns.traces[0]["y"]


def test_labels_are_shortened_in_the_middle_and_inert() -> None:
    assert drawing.label("<b>" + "x" * 40 + "end") == "&lt;b&gt;" + "x" * 11 + "…" + "x" * 10 + "end"


def test_no_user_name_reaches_plotly_as_a_tag(hostile_data: ReportData, hostile_name: str) -> None:
    figures = drawing.figures(hostile_data)
    assert figures
    assert not any(
        tag in json.dumps(figure.traces) + json.dumps(figure.layout)
        for figure in figures
        for tag in ("<img", "<a", "<i")
    )
    assert hostile_name[:9] not in json.dumps([figure.traces for figure in figures])


def test_each_new_start_is_a_line_between_its_blocks(make_run: MakeRun) -> None:
    def started_often(measurements: dict[str, Any]) -> None:
        for timing in measurements["timings"]:
            timing["starts"] = 5

    figure = drawing.speedup_by_block(collect(make_run(change=started_often)))

    assert figure is not None
    assert [shape["x0"] for shape in figure.layout["shapes"] if shape.get("yref") == "paper"] == [4.5, 8.5, 12.5, 16.5]
    assert "started anew" in figure.caption

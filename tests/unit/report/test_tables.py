"""Tests of `compressor.report.tables`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from compressor.report import format as fmt
from compressor.report import tables
from compressor.report.collect import collect
from compressor.report.facts import ReportData

if TYPE_CHECKING:
    from tests.unit.report.conftest import MakeRun


def test_the_short_table_has_a_row_for_each_model_on_each_runtime(data: ReportData) -> None:
    columns, rows = tables.summary_rows(data)
    assert columns == ("model", "runs on", "accuracy", "size", "edge p50", "speed-up")
    assert len(rows) == 6
    assert rows[1][:4] == ("Teacher", "ONNX Runtime CPU", "98.52 % (96.4–99.7)", "1.16 MB")
    assert rows[1][-1] == "1× (base)"
    assert rows[5][-1] == "7.94× (7.86–8.03)"


def test_every_table_is_rectangular_and_none_is_empty(data: ReportData) -> None:
    filled = [tables.accuracy, tables.latency, tables.budgets, tables.steps, tables.decisions, tables.parity]
    filled += [tables.input_contract, tables.conditions, tables.machine, tables.versions, tables.provenance]
    for table in [make(data) for make in filled] + list(tables.settings(data)):
        assert table.rows, table.caption
        assert all(len(row) == len(table.columns) for row in table.rows), table.caption
        assert len(table.roles) in (0, len(table.rows))


def test_losses_are_told_with_their_options_wherever_they_stand(data: ReportData) -> None:
    student = next(link for link in data.links if link.role == "student")
    words = tables.notable_settings(student)
    assert words == "kd (alpha 0.9, temperature 4) · epochs 12 · batch size 128 · optimizer adamw"


def test_a_machine_that_did_not_settle_is_told(make_run: MakeRun) -> None:
    data = collect(make_run(change=lambda measurements: measurements["timings"][0].update(steady=False)))
    assert [row[-2] for row in tables.conditions(data).rows].count("not steady") == 1


def test_nested_settings_become_dotted_names() -> None:
    nested = {"a": {"b": 1}, "losses": [{"name": "kd"}], "c": [1, 2]}
    assert list(tables.flat(nested)) == [("a.b", 1), ("losses.0.name", "kd"), ("c", [1, 2])]


def test_a_choice_that_several_stages_made_alike_is_one_row(data: ReportData) -> None:
    rows = tables.decisions(data).rows
    assert [(row[0], row[3]) for row in rows] == [
        ("lr", "train teacher, train control, distill student"),
        ("opset", "export teacher-onnx, export control-onnx, export student-onnx"),
    ]


def test_a_training_stage_results_in_its_metric_and_not_in_that_of_every_class(data: ReportData) -> None:
    student = next(row for row in tables.steps(data).rows if row[0] == "distill student")
    assert student[3] == "val accuracy 97.41 %"


def at_lengths(data: ReportData, *lengths: int) -> ReportData:
    """The same timings at several lengths; a text twice as long takes twice the time."""
    timings = tuple(
        replace(
            each, profile=f"{each.profile} at {length} tokens", sizes={"tokens": length}, p50_ms=each.p50_ms * length
        )
        for length in lengths
        for each in data.timings
    )
    return replace(data, timings=timings)


def test_several_lengths_are_a_table_of_their_own_and_the_first_stands_in_the_other(data: ReportData) -> None:
    timed = at_lengths(data, 16, 128)

    table = tables.latency_by_size(timed)

    assert table.caption.startswith("Latency by length; ")
    assert table.columns[3::3] == ("16 tokens: p50", "128 tokens: p50")
    assert len(table.rows) == len({(each.role, each.runtime, each.profile) for each in data.timings})
    assert all(len(row) == len(table.columns) for row in table.rows)
    first = next(each for each in data.timings if each.role == "student")
    shown = next(row for row in table.rows if row[0] == "Student")
    assert shown[3] == fmt.milliseconds(16 * first.p50_ms)
    assert not any("128 tokens" in column for column in tables.latency(timed).columns)


def test_one_length_is_no_table_of_lengths(data: ReportData) -> None:
    assert not tables.latency_by_size(data).rows
    assert not tables.latency_by_size(at_lengths(data, 16)).rows

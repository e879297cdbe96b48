"""Tests of `compressor.report.tables`."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

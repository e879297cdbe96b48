"""Runs side by side, and what may not be compared."""

from __future__ import annotations

import json
from dataclasses import replace

from compressor.report import compare
from compressor.report.facts import Interference, ReportData


def test_each_run_is_a_row_with_its_student(data: ReportData) -> None:
    found = compare.compare({"long": data, "short": replace(data, run="short")})

    assert [row[0] for row in found.results.rows] == ["long", "short"]
    assert found.results.rows[0][1:] == found.results.rows[1][1:]
    assert (found.caveats, found.settings.rows) == ((), ())


def test_settings_that_differ_are_named_and_no_others(data: ReportData) -> None:
    links = tuple(
        replace(link, settings={**link.settings, "epochs": 60}) if link.stage == "distill" else link
        for link in data.links
    )

    found = compare.compare({"a": data, "b": replace(data, links=links)})

    assert found.settings.rows == (("distill student: epochs", "12", "60"),)


def test_latencies_of_two_machines_are_not_held_against_one_another(data: ReportData) -> None:
    elsewhere = replace(data, machine={**data.machine, "cpu": "Another CPU"})

    (caveat,) = compare.compare({"a": data, "b": elsewhere}).caveats

    assert "different machines" in caveat


def test_accuracies_on_other_data_are_not_either(data: ReportData) -> None:
    links = tuple(replace(link, data={**link.data, "fingerprint": "other"}) for link in data.links)

    (caveat,) = compare.compare({"a": data, "b": replace(data, links=links)}).caveats

    assert "different data" in caveat


def test_a_restless_measurement_is_pointed_at(data: ReportData) -> None:
    restless = replace(data, interference=(Interference("edge", 0.4, None, None, None, 3, False),))

    (caveat,) = compare.compare({"a": data, "b": restless}).caveats

    assert caveat == "The machine was restless while b was measured."


def test_markdown_and_json_hold_the_same_runs(data: ReportData) -> None:
    found = compare.compare({"a|b": data, "c": data})

    assert "| a\\|b |" in compare.as_markdown(found)
    assert set(json.loads(compare.as_json(found))["runs"]) == {"a|b", "c"}

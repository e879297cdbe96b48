"""Runs side by side, and what may not be compared."""

from __future__ import annotations

import json
from dataclasses import replace

from compressor.measure.record import Interference
from compressor.report import compare
from compressor.report.facts import ReportData


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


def test_accuracies_on_more_samples_are_not_either(data: ReportData) -> None:
    more = replace(data, headline=replace(data.headline, samples=999))

    (caveat,) = compare.compare({"a": data, "b": more}).caveats

    assert "different numbers of test samples (a 270, b 999)" in caveat


def test_metrics_of_two_kinds_are_not_either(data: ReportData) -> None:
    (caveat,) = compare.compare({"a": data, "b": replace(data, metric="f1")}).caveats

    assert "different metrics" in caveat


def test_a_machine_that_is_not_recorded_is_not_taken_for_the_same(data: ReportData) -> None:
    nameless = replace(data, machine={})

    (caveat,) = compare.compare({"a": nameless, "b": nameless}).caveats

    assert "No machine is recorded for a, b" in caveat


def test_settings_that_differ_below_what_is_shown_still_differ(data: ReportData) -> None:
    first, second = (
        replace(data, links=tuple(replace(link, settings={"lr": lr}) for link in data.links if link.stage == "distill"))
        for lr in (0.123456, 0.123457)
    )

    found = compare.compare({"a": first, "b": second})

    assert found.settings.rows == (("distill student: lr", "0.123456", "0.123457"),)


def test_json_holds_every_setting_that_differs(data: ReportData) -> None:
    many = {f"option_{number}": number for number in range(60)}
    links = tuple(replace(link, settings={**link.settings, **many}) for link in data.links if link.stage == "distill")

    found = compare.compare({"a": replace(data, links=links), "b": replace(data, links=links[:0])})

    assert len(json.loads(compare.as_json(found))["settings"]) > 60
    assert len(found.settings.rows) == 40
    assert "the first 40 of" in found.settings.caption


def test_a_restless_measurement_is_pointed_at(data: ReportData) -> None:
    restless = replace(data, interference=(Interference("edge", 0.4, None, None, None, 3, False),))

    (caveat,) = compare.compare({"a": data, "b": restless}).caveats

    assert caveat == "The machine was restless while b was measured."


def test_markdown_and_json_hold_the_same_runs(data: ReportData) -> None:
    found = compare.compare({"a|b": data, "c": data})

    assert "| a\\|b |" in compare.as_markdown(found)
    assert set(json.loads(compare.as_json(found))["runs"]) == {"a|b", "c"}


def test_the_same_test_samples_are_compared_whatever_the_training_samples_were(data: ReportData) -> None:
    def of(whole: str, tests: str) -> ReportData:
        told = {"fingerprint": whole, "test_fingerprint": tests}
        return replace(data, links=tuple(replace(link, data={**link.data, **told}) for link in data.links))

    assert compare.compare({"a": of("all", "t"), "b": of("a tenth", "t")}).caveats == ()
    assert "different data" in compare.compare({"a": of("all", "t"), "b": of("all", "u")}).caveats[0]


def test_drops_from_different_models_are_not_compared(data: ReportData) -> None:
    alone = replace(data, headline=replace(data.headline, base="control", base_words="the same network trained alone"))

    (caveat,) = compare.compare({"a": data, "b": alone}).caveats

    assert "a the teacher, b the same network trained alone" in caveat

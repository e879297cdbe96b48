"""What the words mean: only those that the report uses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from compressor.measure.record import Interference
from compressor.report import html, words
from compressor.report.collect import collect

if TYPE_CHECKING:
    from compressor.report.facts import ReportData
    from tests.unit.report.conftest import MakeRun


def test_every_role_and_profile_that_is_shown_is_explained(data: ReportData) -> None:
    explained = [word for word, _ in words.used(data)]

    assert {"teacher", "control", "student", "edge", "server", "points", "MACs"} <= set(explained)
    assert "restless" not in explained
    assert "What the words mean" in html.render(data)


def test_what_is_not_shown_is_not_explained(make_run: MakeRun) -> None:
    explained = [word for word, _ in words.used(collect(make_run(roles=("student",))))]

    assert "teacher" not in explained
    assert "control" not in explained


def test_restless_is_explained_where_the_machine_was(data: ReportData) -> None:
    restless = replace(data, interference=(Interference("edge", 0.5, None, None, None, 3, False),))

    assert "restless" in [word for word, _ in words.used(restless)]


def test_a_profile_is_explained_as_it_was_measured(data: ReportData) -> None:
    changed = tuple(replace(each, threads=2, batch=4) for each in data.timings if each.profile == "edge")

    assert dict(words.used(data))["edge"].startswith("1 thread, batch 1, ")
    assert dict(words.used(replace(data, timings=changed)))["edge"].startswith("2 threads, batch 4, ")

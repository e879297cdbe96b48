"""`compress report`: a gate for CI with its exit codes, runs side by side, and what each writes."""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest

from tests import small


@pytest.fixture(scope="module")
def runs(finished, tmp_path_factory):
    """Two measured runs of one project."""
    folder = tmp_path_factory.mktemp("reported") / "runs"
    for name in ("small", "copied"):
        shutil.copytree(finished[0] / "runs" / "small", folder / name)
    return folder


@pytest.fixture
def typed(runs, monkeypatch):
    """The exit code of a command line beside the runs."""
    monkeypatch.chdir(runs.parent)
    return partial(small.typed, monkeypatch)


def test_the_report_is_a_page_markdown_json_and_a_model_card(typed, runs, capsys):
    assert typed("report", "runs/small") == 0

    written = {file.name for file in (runs / "small" / "report").iterdir()}
    assert written == {"manifest.json", "report.html", "report.md", "report.json", "report.card.md"}
    assert "report.html" in capsys.readouterr().out


def test_a_condition_that_holds_ends_with_one_and_says_why(typed, capsys):
    assert typed("report", "runs/small", "--fail-if", "latency_p50_ms > 1000 or size_mb > 0.0001") == 1

    told = capsys.readouterr().err
    assert "missed: --fail-if: size_mb (" in told
    assert ") > 0.0001" in told


def test_a_condition_that_does_not_hold_ends_with_nought(typed, capsys):
    assert typed("report", "runs/small", "--fail-if", "accuracy_drop > 100") == 0

    assert "passed: not accuracy_drop (" in capsys.readouterr().out


def test_a_gate_for_programs(typed, capsys):
    assert typed("report", "runs/small", "--fail-if", "size_mb > 0.0001", "--json") == 1

    told = json.loads(capsys.readouterr().out)
    assert told["gate"]["failed"] is True
    assert "size_mb" in told["gate"]["because"]


def test_a_number_that_nobody_knows_is_bad_input(typed, capsys):
    assert typed("report", "runs/small", "--fail-if", "acuracy > 1") == 2

    assert "did you mean 'accuracy'?" in capsys.readouterr().err


def test_runs_stand_side_by_side(typed, runs, capsys, tmp_path):
    assert typed("report", "runs/small", "runs/copied", "--out", str(tmp_path / "both.md")) == 0

    shown = capsys.readouterr().out
    assert "small" in shown
    assert "copied" in shown
    assert "## Runs side by side" in (tmp_path / "both.md").read_text()


def test_runs_side_by_side_for_programs(typed, capsys):
    assert typed("report", "runs/small", "runs/copied", "--json") == 0

    told = json.loads(capsys.readouterr().out)
    assert set(told["runs"]) == {"small", "copied"}
    assert told["runs"]["small"] == told["runs"]["copied"]


def test_the_same_run_twice_is_refused(typed, capsys):
    assert typed("report", "runs/small", "runs/small") == 2

    assert "two of the runs are the same" in capsys.readouterr().err


def test_a_gate_is_about_one_run(typed, capsys):
    assert typed("report", "runs/small", "runs/copied", "--fail-if", "accuracy < 1") == 2

    assert "is about one run" in capsys.readouterr().err


def test_a_run_without_measurements_says_how_to_make_some(typed, runs, capsys):
    (runs / "empty").mkdir(exist_ok=True)

    assert typed("report", "runs/empty") == 2
    assert "runs/empty" in capsys.readouterr().err

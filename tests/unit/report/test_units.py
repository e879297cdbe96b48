"""A task whose metric is an error in a unit of its own: told in that unit everywhere, and less of it is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from compressor.errors import InputError
from compressor.measure.record import Paired
from compressor.report import card, compare, devices, figures, gate, html, links, markdown, quality, tables, words
from compressor.report import format as fmt
from compressor.report.collect import collect
from compressor.report.facts import ReportData
from compressor.report.headline import difference
from compressor.scores import Metric
from tests.unit.report.conftest import MakeRun

CELSIUS = Metric("RMSE", "°C", larger_is_better=False)
ERRORS = {"teacher": 2.0, "control": 3.5, "student": 2.3}


def of_temperatures(make_run: MakeRun, errors: Mapping[str, float] = ERRORS, **options: Any) -> ReportData:
    """A run of a task that predicts temperatures and is judged by its error in °C."""

    def change(measurements: dict[str, Any]) -> None:
        measurements |= {"metric": CELSIUS.name, "units": [CELSIUS.as_json()], "task": "temperatures"}
        measurements["budgets"] = [{"budget": "max_drop", "limit": 0.2, "value": 0.3, "unit": "°C", "met": False}]
        for each in measurements["candidates"]:
            error = errors[each["role"]]
            for entry in each["accuracy"]:
                entry |= {"metrics": {CELSIUS.name: error}, "interval": [error - 0.1, error + 0.1], "per_class": []}
                entry |= {"primary": CELSIUS.name, "metric": CELSIUS.as_json()}

    return collect(make_run(change=change, **options))


@pytest.fixture
def warm(make_run: MakeRun) -> ReportData:
    return of_temperatures(make_run)


def has_no_share(text: str) -> bool:
    """Whether a text tells nothing in percent or points, but for the level of its intervals and whether models agree."""
    return "%" not in text.replace("95 %", "") and "points" not in text and "accuracy" not in text.lower()


def test_the_sentence_tells_the_error_in_its_unit_and_that_the_student_is_worse(warm: ReportData) -> None:
    assert warm.headline.sentence.startswith(
        "The student reaches 2.300 °C RMSE where the teacher reaches 2.000 °C (0.300 °C worse), "
    )
    assert has_no_share(warm.headline.sentence)


def test_a_student_with_a_smaller_error_than_the_control_was_helped(warm: ReportData) -> None:
    assert warm.headline.gain_sentence == (
        "The teacher helped: 1.20 °C over the same student trained without the teacher."
    )
    assert warm.headline.gain == pytest.approx(-1.2)


def test_a_student_with_a_larger_error_than_the_control_was_hurt(make_run: MakeRun) -> None:
    hurt = of_temperatures(make_run, ERRORS | {"student": 4.5})

    assert hurt.headline.gain_sentence.startswith("The teacher hurt: 1.00 °C against")


def test_the_first_screen_calls_a_smaller_error_good_and_a_larger_one_not(make_run: MakeRun, warm: ReportData) -> None:
    better = of_temperatures(make_run, ERRORS | {"student": 1.5})

    (worse_card, *_, teacher_card, _), (better_card, *_) = (
        html.cards(each.headline, each.primary) for each in (warm, better)
    )

    assert (worse_card.title, worse_card.value, worse_card.mood) == ("RMSE", "2.300 °C", "plain")
    assert worse_card.detail == "0.300 °C worse against the teacher"
    assert (better_card.detail, better_card.mood) == ("0.500 °C better against the teacher", "good")
    assert (teacher_card.value, teacher_card.mood) == ("1.20 °C better", "good")


@pytest.mark.parametrize(
    ("condition", "failed"),
    [
        ("accuracy_drop > 0.2", True),
        ("accuracy_drop > 0.4", False),
        ("gain_over_control < 1", False),
        ("gain_over_control < 1.5", True),
        ("accuracy > 2.25", True),
        ("teacher_accuracy < 0.5", False),
    ],
)
def test_a_condition_is_about_the_error_and_a_drop_is_what_was_added_to_it(
    warm: ReportData, condition: str, failed: bool
) -> None:
    assert gate.check(condition, warm).failed is failed


def test_what_agrees_is_a_share_whatever_the_metric_is(warm: ReportData) -> None:
    with pytest.raises(InputError, match="agreement is in percent"):
        gate.check("agreement < 0.9", warm)


def test_runs_are_compared_in_the_unit_of_their_metric(warm: ReportData) -> None:
    table = compare.compare({"a": warm, "b": warm}).results

    assert table.columns[1] == "RMSE"
    assert table.rows[0][1:5] == ("2.300 °C", "2.200–2.400 °C", "0.300 °C worse", "1.20 °C better")


def test_every_table_and_figure_tells_the_error_in_its_unit(warm: ReportData) -> None:
    chain, summary = links.table(warm), tables.summary_rows(warm)
    plot, curve = figures.accuracy_against_latency(warm), links.waterfall(warm)

    assert summary[1][-1][2] == "2.300 °C (2.200–2.400)"
    assert tables.accuracy(warm).rows[-1][5:7] == ("2.300 °C", "2.200–2.400 °C")
    assert tables.accuracy(warm).caption.startswith("RMSE and size")
    assert chain.columns[5] == "RMSE"
    assert chain.rows[-1][5:7] == ("2.300 °C", "0.300 °C worse")
    assert quality.calibration(warm).rows[-1][-1] == "2.300 °C"
    assert tables.budgets(warm).rows[0] == ("max_drop", "0.2 °C", "0.3 °C", "missed")
    assert plot is not None
    assert (plot.title, plot.layout["yaxis"]["title"]["text"]) == ("RMSE against latency", "RMSE (°C)")
    assert plot.layout["yaxis"]["tickformat"] == "~g"
    assert plot.caption.startswith("Down and to the left is better")
    assert plot.rows[-1][3:] == ("2.300 °C", "2.200–2.400 °C")
    assert curve is None or "RMSE" in curve.caption
    assert "points" not in dict(words.used(warm))


def test_the_stepped_line_joins_the_smallest_errors(warm: ReportData) -> None:
    plot = figures.accuracy_against_latency(warm)

    assert plot is not None
    line = plot.traces[0]
    assert line["y"] == sorted(line["y"], reverse=True), "the slower a model on the line, the smaller its error"
    assert line["y"][-1] == ERRORS["teacher"]


def test_nothing_that_is_rendered_tells_the_error_in_percent_or_points(warm: ReportData) -> None:
    agreeing = replace(warm, candidates=tuple(_without_agreement(each) for each in warm.candidates), links=())

    assert "RMSE" in markdown.render(agreeing)
    assert has_no_share(markdown.render(agreeing).replace("accuracy_drop", ""))
    assert "2.3" in card.render(agreeing)
    assert devices.devices(agreeing).rows == ()


def _without_agreement(candidate: Any) -> Any:
    return replace(candidate, accuracy=tuple(replace(each, agreement_with_teacher=None) for each in candidate.accuracy))


def test_a_link_that_adds_more_to_the_error_than_is_accepted_is_dropped(warm: ReportData) -> None:
    step = links.steps(warm)[-1]
    cut = replace(step, change=0.5, change_is_real=True)

    assert links._verdict(cut, metric=CELSIUS, limit=0.2) == "costs 0.5 °C: drop this link"
    assert "drop" not in links._verdict(cut, metric=CELSIUS, limit=0.6)
    assert links._verdict(replace(cut, change=-0.5), metric=CELSIUS, limit=0.2).endswith("more accurate")


def test_a_paired_test_of_resampled_errors_is_believed_and_told_in_the_unit(warm: ReportData) -> None:
    test = Paired("teacher", difference=-0.3, low=-0.4, high=-0.2, p_value=0.001, resamples=2000)  # a loss, as a gain
    student = warm.candidate("student")
    teacher = warm.candidate("teacher")
    assert student is not None
    assert teacher is not None
    judged = replace(student.accuracy[-1], paired=(test,))

    found = difference(judged, teacher.accuracy[-1], CELSIUS, "teacher")
    table = quality.paired(replace(warm, candidates=(teacher, replace(student, accuracy=(judged,)))))

    assert found is not None
    assert (found.value, found.within_noise) == (pytest.approx(0.3), False)
    assert table.rows[0][2:4] == ("0.300 °C worse", "+0.2 to +0.4")


@pytest.mark.parametrize(
    ("metric", "difference", "said"),
    [
        (Metric("accuracy"), 0.0185, "+1.85 points"),
        (Metric("accuracy"), -0.00001, "0.00 points"),
        (Metric("ece", larger_is_better=False), 0.02, "2.00 points worse"),
        (CELSIUS, -0.5, "0.500 °C better"),
        (CELSIUS, 0.0, "0 °C"),
        (Metric("r2", ""), 0.25, "+0.250"),
        (Metric("r2", ""), -0.25, "−0.250"),
        (CELSIUS, None, "–"),
    ],
)
def test_a_change_says_which_way_it_went(metric: Metric, difference: float | None, said: str) -> None:
    assert fmt.change(metric, difference) == said


def test_older_measurements_that_say_no_unit_are_told_as_they_were(data: ReportData) -> None:
    assert data.units == ()
    assert data.primary == Metric("accuracy")
    assert data.meaning("rmse") == Metric("rmse", "", larger_is_better=False)

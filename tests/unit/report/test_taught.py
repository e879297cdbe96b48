"""Teachers that are no single network, and students that had none: what every form of the report says of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from compressor.errors import InputError
from compressor.report import card, compare, gate, html, links, markdown, schema, tables
from compressor.report import data as json_format
from compressor.report.collect import collect

if TYPE_CHECKING:
    from compressor.report.facts import ReportData
    from tests.unit.report.conftest import MakeRun

ENSEMBLE: dict[str, Any] = {
    "kind": "ensemble",
    "title": "three networks",
    "members": ["zoo:resnet20", "zoo:resnet32", "zoo:resnet56"],
    "asked": 1536,
    "test": {"accuracy": 0.99},
}
ITSELF: dict[str, Any] = {"kind": "previous_epoch", "options": {}, "asked": 0}
KINDS = {
    "of several": (("teacher", "control", "student"), ENSEMBLE),
    "of several, not measured here": (("control", "student"), ENSEMBLE),
    "a file, not measured": (("control", "student"), {"kind": "outputs", "title": "answers.npz"}),
    "itself": (("control", "student"), ITSELF),
    "itself, no control": (("student",), ITSELF),
    "peers": (("student",), {"kind": "peers", "members": ["zoo:resnet8"], "asked": 9}),
    "itself, then cut": (("distilled", "student"), ITSELF),
    "nobody": (("student",), None),
}


@pytest.fixture(params=KINDS)
def odd(request: pytest.FixtureRequest, make_run: MakeRun) -> ReportData:
    """The facts of each odd kind of run."""
    roles, taught = KINDS[request.param]
    return collect(make_run(roles=roles, taught=taught))


def test_every_form_of_the_report_is_written(odd: ReportData) -> None:
    for text in (html.render(odd), markdown.render(odd), card.render(odd)):
        assert odd.headline.sentence.split(",")[0] in text
        assert "None" not in odd.headline.sentence + odd.headline.gain_sentence
    jsonschema.validate(json.loads(json_format.render(odd)), schema.schema())
    assert compare.compare({"a": odd, "b": odd}).results.rows
    assert gate.check("size_mb > 1", odd).failed is False


def test_an_ensemble_is_named_with_its_members_and_its_own_accuracy(make_run: MakeRun) -> None:
    data = collect(make_run(taught=ENSEMBLE))

    teacher = data.candidate("teacher")
    assert teacher is not None
    assert teacher.title == "Teacher (ensemble of 3)"
    rows = tables.taught(data).rows
    assert [value for name, value in rows if name == "Member"] == ENSEMBLE["members"]
    assert ("Its own accuracy, test", "99.00 %") in rows
    assert ("Samples it answered", "1,536") in rows


def test_a_single_network_is_just_the_teacher(make_run: MakeRun) -> None:
    data = collect(make_run(taught={"kind": "network", "title": "ResNet-56", "asked": 10}))

    assert [candidate.title for candidate in data.candidates] == ["Teacher", "Control", "Student"]
    assert ("Taught by", "ResNet-56") in tables.taught(data).rows


def test_a_teacher_that_was_not_measured_here_counts_as_its_own_stage_judged_it(make_run: MakeRun) -> None:
    head = collect(make_run(roles=("control", "student"), taught=ENSEMBLE)).headline

    assert "97.41 % accuracy where its teacher (ensemble of 3) reaches 99.00 % (−1.59 points" in head.sentence
    assert (head.base, head.teacher) == ("teacher", 0.99)


def test_a_student_that_taught_itself_is_held_against_the_control(make_run: MakeRun) -> None:
    data = collect(make_run(roles=("control", "student"), taught=ITSELF))

    head = data.headline
    assert head.sentence.startswith(
        "Learnt without a teacher (previous epoch), the student reaches 97.41 % accuracy "
        "where the same network trained alone reaches 95.19 % (+2.22 points"
    )
    assert head.gain_sentence == (
        "Whether this helped cannot be told: +2.22 points against the same student trained on the labels alone, "
        "within the noise of 270 test samples."
    )
    assert "smaller" not in head.sentence, "it is the same network"
    assert ("the teacher", "the student learnt without one (previous epoch)") in tables.missing(data).rows


def test_without_a_control_it_stands_alone(make_run: MakeRun) -> None:
    head = collect(make_run(roles=("student",), taught=ITSELF)).headline

    assert head.sentence.startswith(
        "Learnt without a teacher (previous epoch), the student reaches 97.41 % accuracy and"
    )
    assert head.gain_sentence == "Whether this helped is not known: no control was measured."


def test_a_student_is_not_held_against_itself_in_pytorch(make_run: MakeRun) -> None:
    def timed_alone(measurements: dict[str, Any]) -> None:
        for timing in measurements["timings"]:
            timing["speedup_against_teacher_torch"] = {"ratio": 9.0, "low": 8.0, "high": 10.0, "against": "student"}

    data = collect(make_run(roles=("student",), taught=ITSELF, change=timed_alone))

    assert "answers in 0.05" in data.headline.sentence
    assert "as fast" not in data.headline.sentence


def test_no_page_speaks_of_a_teacher_that_was_not_there(make_run: MakeRun) -> None:
    data = collect(make_run(roles=("control", "student"), taught=ITSELF))

    assert tables.accuracy(data).columns[-1] == "Agrees with control"
    assert markdown.render(data).startswith("## digits: student")
    assert "where the teacher is too slow" not in card.render(data)


def test_a_chain_without_a_teacher_begins_with_the_student_before_the_cut(make_run: MakeRun) -> None:
    def cut(measurements: dict[str, Any]) -> None:
        for timing in measurements["timings"]:
            if timing["role"] == "student":
                timing["speedup"] = {"ratio": 2.0, "low": 1.9, "high": 2.1, "against": "distilled"}

    data = collect(make_run(roles=("distilled", "student"), taught=ITSELF, change=cut))

    assert "runs 2.00× (1.90–2.10) as fast as the student before the cut" in data.headline.sentence
    assert [step.candidate.role for step in links.steps(data)] == ["distilled", "student"]
    assert "against the distilled on the same runtime" in tables.latency(data).caption


def test_a_gate_on_a_teacher_that_was_not_there_is_a_fault(make_run: MakeRun) -> None:
    data = collect(make_run(roles=("control", "student"), taught=ITSELF))

    with pytest.raises(InputError, match="'teacher_accuracy' was not measured in this run"):
        gate.check("teacher_accuracy > 1", data)
    assert gate.values(data)["accuracy_drop"] == pytest.approx(-2.22)

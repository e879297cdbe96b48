"""A condition on a report's numbers: what holds, what is said, and that nothing passes for want of a number."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compressor.errors import InputError
from compressor.report import gate
from compressor.report.collect import collect
from compressor.report.facts import ReportData, Taught
from tests.unit.report.conftest import MakeRun


def known(data: ReportData, name: str) -> float:
    return gate.values(data)[name]


def test_numbers_are_those_of_the_deployed_student(data: ReportData) -> None:
    head = data.headline
    assert head.student is not None
    assert head.change is not None

    found = gate.values(data)

    assert found["accuracy"] == pytest.approx(100 * head.student)
    assert found["accuracy_drop"] == pytest.approx(-100 * head.change)
    assert found["latency_p50_ms"] == head.latency_ms
    assert set(found) <= set(gate.NAMES)


@pytest.mark.parametrize(
    ("expression", "failed"),
    [
        ("latency_p50_ms > 1000", False),
        ("latency_p50_ms > 0", True),
        ("latency_p50_ms > 1000 or accuracy_drop > 0.1", True),
        ("latency_p50_ms > 0 and accuracy_drop > 99", False),
        ("not accuracy > 99.9", True),
        ("0 < speedup_low < speedup <= speedup_high", True),
        ("(accuracy_drop + 1) * 2 - 1 > -3 / 2", True),
        ("size_ratio == size_ratio", True),
        ("size_ratio != size_ratio", False),
    ],
)
def test_conditions_mean_what_they_say(data: ReportData, expression: str, failed: bool) -> None:
    assert gate.check(expression, data).failed is failed


def test_a_drop_of_exactly_the_limit_is_not_above_it(data: ReportData) -> None:
    one_of_a_hundred = replace(data, headline=replace(data.headline, change=0.94 - 0.95))

    assert not gate.check("accuracy_drop > 1.0", one_of_a_hundred).failed
    assert gate.check("accuracy_drop > 0.99", one_of_a_hundred).failed


def test_a_change_of_runtime_is_no_speedup(make_run: MakeRun) -> None:
    crossing = collect(make_run(exported=("student",)))

    assert crossing.headline.speedup is not None
    with pytest.raises(InputError, match="'speedup' was not measured in this run"):
        gate.check("speedup < 1.5", crossing)


def test_the_sentence_names_the_numbers_that_decided(data: ReportData) -> None:
    drop = known(data, "accuracy_drop")

    failed = gate.check("latency_p50_ms > 1000 or accuracy_drop > 0.5", data)
    passed = gate.check("accuracy_drop > 90", data)

    assert failed.sentence == f"accuracy_drop ({drop:.3f}) > 0.5"
    assert passed.sentence == f"not accuracy_drop ({drop:.3f}) > 90"


def test_what_is_denied_is_named_as_well(data: ReportData) -> None:
    low, speedup = known(data, "speedup_low"), known(data, "speedup")

    denied = gate.check("not speedup_low > 999", data)
    neither = gate.check("not (speedup_low > 999 or speedup > 999)", data)
    chain = gate.check("0 < speedup < 1 or speedup > 1", data)

    assert denied.sentence == f"not speedup_low ({low:.3f}) > 999"
    assert neither.sentence == f"not speedup_low ({low:.3f}) > 999; not speedup ({speedup:.3f}) > 999"
    assert chain.sentence == f"speedup ({speedup:.3f}) > 1"


def test_a_misspelt_name_is_corrected(data: ReportData) -> None:
    with pytest.raises(InputError, match="no number is called 'latency_p5_ms'") as told:
        gate.check("latency_p5_ms > 5", data)

    assert told.value.hint in ("did you mean 'latency_p95_ms'?", "did you mean 'latency_p50_ms'?")


def test_what_was_not_measured_does_not_pass(data: ReportData) -> None:
    without = replace(data, headline=replace(data.headline, gain=None, control=None))

    with pytest.raises(InputError, match="'gain_over_control' was not measured in this run"):
        gate.check("gain_over_control < 0", without)
    with pytest.raises(InputError, match="was not measured"):
        gate.check("latency_p50_ms > 0 or gain_over_control < 0", without)


def test_not_a_number_is_not_measured(data: ReportData) -> None:
    odd = replace(data, headline=replace(data.headline, size_ratio=float("nan")))

    assert "size_ratio" not in gate.values(odd)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("accuracy >", "is no condition"),
        ("", "is no condition"),
        ("accuracy", "neither true nor false"),
        ("accuracy > 'high'", "is no number"),
        ("accuracy > True", "is no number"),
        ("accuracy in (1, 2)", "compares in a way"),
        ("accuracy > 1 / 0", "divides by zero"),
        ("accuracy > 1e400 - 1e400", "not a finite number"),
        ("accuracy > 1e308 * 10", "not a finite number"),
        ("accuracy > 1" + "0" * 400, "too large"),
        ("-" * 5000 + "1 > 0", "nested too deeply"),
        ("accuracy >", "at column 11"),
        ("  accuracy > 5 5", "at column 14"),
        ("accuracy ** 2 > 1", "is no number"),
        ("__import__('os').system('true') == 0", "is no number"),
        ("[x for x in (1,)] > 1", "is no number"),
        ("accuracy.real > 1", "is no number"),
        ("(lambda: 1)() > 0", "is no number"),
    ],
)
def test_anything_else_is_refused_and_never_run(data: ReportData, expression: str, said: str) -> None:
    with pytest.raises(InputError) as told:
        gate.check(expression, data)

    assert said in told.value.message
    assert told.value.where == "--fail-if"


def test_every_name_is_explained() -> None:
    assert all(meaning for meaning in gate.NAMES.values())


def test_a_drop_from_something_else_than_the_teacher_is_not_one(data: ReportData) -> None:
    against_the_control = replace(data.headline, base="control", change=0.01)
    from_a_file = replace(data, headline=against_the_control, taught=Taught("outputs", "answers.npz"))
    by_itself = replace(from_a_file, taught=Taught("previous_epoch"))

    with pytest.raises(InputError, match="'accuracy_drop' was not measured"):
        gate.check("accuracy_drop > 1", from_a_file)
    assert not gate.check("accuracy_drop > 1", by_itself).failed


@pytest.mark.parametrize("condition", ["accuracy < 0.9", "0.5 > agreement"])
def test_a_percentage_is_not_compared_with_a_share(data: ReportData, condition: str) -> None:
    with pytest.raises(InputError, match=r"is in percent.*write 90 for 90 %"):
        gate.check(condition, data)

    assert not gate.check("accuracy_drop > 99.5 and accuracy_drop > 0.5", data).failed


def test_nothing_passes_on_numbers_of_models_that_are_no_longer_there(data: ReportData) -> None:
    with pytest.raises(InputError, match=r"student has been made again.*compress bench"):
        gate.check("accuracy < 1", replace(data, outdated="student has been made again since."))

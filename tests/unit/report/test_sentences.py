"""Every sentence that the headline can say, with the condition for it: rows of facts, most of them at an edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from compressor.measure.record import Accuracy, Budget, Candidate, Majority, Paired, Speedup, Timing
from compressor.measure.statistics import more_than_fair
from compressor.report import chance
from compressor.report.facts import Headline, Taught
from compressor.report.headline import gain_over_control, judge
from compressor.scores import Metric
from tests import records

LEARNED = Majority(0.5425, "cat", constant_only=10, model_only=60, p_value=1e-9)
AT_MOST = Majority(0.5425, "cat", constant_only=0, model_only=0, p_value=1.0)
UNSURE = Majority(0.5425, "cat", constant_only=4, model_only=9, p_value=more_than_fair(9, 4))
WIDE = (-0.0785, 0.0785)  # of an interval, about the accuracy: 153 samples


def paired(difference: float, p_value: float, *, against: str = "control") -> Paired:
    """The outcome of a paired test."""
    return Paired(against, 0, 0, difference, difference - 0.01, difference + 0.01, p_value)


def accuracy(value: float, *tests: Paired, majority: Majority | None = LEARNED, **other: Any) -> Accuracy:
    """What a model answers on 153 samples."""
    given = {
        "runtime": "ort_cpu",
        "interval": (value + WIDE[0], value + WIDE[1]),
        "metrics": {"accuracy": value},
    } | other
    return Accuracy(
        split="test",
        samples=153,
        per_class=(),
        agreement_with_teacher=None,
        paired=tests,
        majority=majority,
        **given,
    )


def candidate(role: str, judged: Accuracy, *, size: int = 1000, params: int = 10) -> Candidate:
    """A model in its role, of so many bytes."""
    return Candidate(role, role.capitalize(), params, None, {"onnx": size}, (judged,))


def timing(role: str, speedup: Speedup | None = None, **other: Any) -> Timing:
    """A latency of 2 ms on one thread."""
    ran = {"runtime": other.get("runtime", "ort_cpu"), "speedup_against_teacher_torch": other.get("in_torch")}
    return records.timing(role, speedup=speedup, **ran)


def head(*candidates: Candidate, timings: tuple[Timing, ...] = (), **other: Any) -> Headline:
    """The headline of these models."""
    budgets = other.pop("budgets", ())
    return judge(candidates, timings, budgets, **{"metric": Metric("accuracy"), "base": "teacher"} | other)


def gain(student: Accuracy, control: Accuracy) -> str:
    """What bench says of the teacher; the closing line of distill must be the same."""
    said = head(candidate("teacher", accuracy(0.9)), candidate("control", control), candidate("student", student))
    assert said.gain_sentence == gain_over_control(student, control, metric=Metric("accuracy")), (
        "bench and distill judge alike"
    )
    assert said.gain_told is said.gain_sentence.startswith("The teacher h")
    return said.gain_sentence


OVER = "the same student trained without the teacher"
GAINS: Mapping[str, tuple[Accuracy, Accuracy, str]] = {
    "a real gain between models that have learned": (
        accuracy(0.80, paired(0.05, 0.049)),
        accuracy(0.75),
        f"The teacher helped: +5.00 points over {OVER}.",
    ),
    "a real loss": (
        accuracy(0.75, paired(-0.05, 0.001)),
        accuracy(0.80),
        f"The teacher hurt: −5.00 points against {OVER}.",
    ),
    "at 5 % exactly it is noise": (
        accuracy(0.80, paired(0.05, 0.05)),
        accuracy(0.75),
        f"Whether the teacher helped cannot be told: +5.00 points against {OVER}, within the noise of 153 test samples.",
    ),
    "no difference at all": (
        accuracy(0.75, paired(0.0, 1.0)),
        accuracy(0.75),
        f"Whether the teacher helped cannot be told: 0.00 points against {OVER}, within the noise of 153 test samples.",
    ),
    "each predicts one class of two": (
        accuracy(0.5425, paired(0.0850, 0.01), majority=AT_MOST),
        accuracy(0.4575, majority=AT_MOST),
        f"Whether the teacher helped cannot be told: +8.50 points against {OVER}, and neither is shown to be better than "
        "chance.",
    ),
    "a control that has learned nothing": (
        accuracy(0.80, paired(0.25, 1e-9)),
        accuracy(0.55, majority=UNSURE),
        f"Whether the teacher helped cannot be told: +25.00 points against {OVER}, and the control is not shown to be "
        "better than chance.",
    ),
    "a student that has learned nothing": (
        accuracy(0.54, paired(-0.26, 1e-9), majority=AT_MOST),
        accuracy(0.80),
        f"Whether the teacher helped cannot be told: −26.00 points against {OVER}, and the student is not shown to be "
        "better than chance.",
    ),
    "not paired, and no further apart than two sets of samples": (
        accuracy(0.80),
        accuracy(0.69),
        f"Whether the teacher helped cannot be told: +11.00 points against {OVER}, within the noise of 153 test samples.",
    ),
    "not paired, and further apart": (
        accuracy(0.80),
        accuracy(0.68),
        f"The teacher helped: +12.00 points over {OVER}.",
    ),
    "a test on another runtime does not count": (
        accuracy(0.80, paired(0.05, 0.001)),
        accuracy(0.75, runtime="torch"),
        f"Whether the teacher helped cannot be told: +5.00 points against {OVER}, within the noise of 153 test samples.",
    ),
    "a metric that is no share of right answers": (
        accuracy(0.80, majority=None, interval=None),
        accuracy(0.70, majority=None, interval=None),
        f"Whether the teacher helped cannot be told: +10.00 points against {OVER}, not tested on 153 test samples.",
    ),
    "older measurements hold no constant beside the model": (
        accuracy(0.80, paired(0.05, 0.01), majority=None),
        accuracy(0.75, majority=None),
        f"The teacher helped: +5.00 points over {OVER}.",
    ),
}


@pytest.mark.parametrize("row", GAINS)
def test_whether_a_teacher_helped_takes_a_real_difference_of_models_that_have_learned(row: str) -> None:
    student, control, sentence = GAINS[row]
    assert gain(student, control) == sentence


AT_CHANCE: Mapping[str, tuple[Accuracy | None, str]] = {
    "one constant class": (
        accuracy(0.5425, majority=AT_MOST),
        "The student is at chance: 54.25 % accuracy on 153 test samples, where always answering 'cat' reaches 54.25 %. "
        + chance.LOOK_AT,
    ),
    "the other constant class": (
        accuracy(0.4575, majority=AT_MOST),
        "The student is at chance: 45.75 % accuracy on 153 test samples, where always answering 'cat' reaches 54.25 %. "
        + chance.LOOK_AT,
    ),
    "better, but not by more than luck": (
        accuracy(0.5752, majority=UNSURE),
        "The student cannot be told from chance: 57.52 % accuracy on 153 test samples, where always answering 'cat' "
        f"reaches 54.25 %. {chance.LOOK_AT}",
    ),
    "better at 5 % exactly is not enough": (
        accuracy(0.6, majority=replace(LEARNED, p_value=0.05)),
        "The student cannot be told from chance: 60.00 % accuracy on 153 test samples, where always answering 'cat' "
        f"reaches 54.25 %. {chance.LOOK_AT}",
    ),
    "better by more than luck": (accuracy(0.6, majority=replace(LEARNED, p_value=0.049)), ""),
    "never held against a constant": (accuracy(0.2, majority=None), ""),
    "not judged": (None, ""),
}


@pytest.mark.parametrize("row", AT_CHANCE)
def test_a_model_is_at_chance_where_it_is_not_shown_to_beat_the_best_constant(row: str) -> None:
    judged, sentence = AT_CHANCE[row]
    assert chance.sentence([("the student", judged)], metric=Metric("accuracy")) == sentence


def test_teacher_and_control_are_said_to_be_at_chance_like_the_student() -> None:
    nothing = accuracy(0.5, majority=AT_MOST)
    said = head(*(candidate(role, nothing) for role in ("teacher", "control", "student"))).chance_sentence

    assert [f"{role} is at chance" in said for role in ("The teacher", "The control", "The student")] == [True] * 3
    assert said.count(chance.LOOK_AT) == 1
    assert head(candidate("teacher", accuracy(0.9)), candidate("student", accuracy(0.8))).chance_sentence == ""


STUDENT, TEACHER = candidate("student", accuracy(0.80)), candidate("teacher", accuracy(0.85))
EXACT = candidate("student", accuracy(0.80, paired(-0.05, 0.001, against="teacher")))
ALONE = Taught("previous_epoch")
STORED = Taught("outputs", "answers.npz", metrics={"accuracy": 0.99})
SENTENCES: Mapping[str, tuple[Callable[[], Headline], str]] = {
    "no student": (
        lambda: head(TEACHER),
        "No student was measured, so there is nothing to compare with the teacher.",
    ),
    "a student alone": (lambda: head(STUDENT), "The student reaches 80.00 % accuracy."),
    "a drop that is real": (
        lambda: head(replace(TEACHER, size_bytes={}), EXACT),
        "The student reaches 80.00 % accuracy where the teacher reaches 85.00 % (−5.00 points).",
    ),
    "a drop that is noise": (
        lambda: head(replace(TEACHER, size_bytes={}), STUDENT),
        "The student reaches 80.00 % accuracy where the teacher reaches 85.00 % (−5.00 points, within the noise of 153 test "
        "samples).",
    ),
    "a teacher whose answers alone are on record": (
        lambda: head(STUDENT, taught=STORED),
        "The student reaches 80.00 % accuracy where its teacher (outputs) reaches 99.00 % (−19.00 points).",
    ),
    "no teacher, but a control of the same network": (
        lambda: head(candidate("control", accuracy(0.75)), STUDENT, taught=ALONE),
        "Learnt without a teacher (previous epoch), the student reaches 80.00 % accuracy where the same network trained "
        "alone reaches 75.00 % (+5.00 points, within the noise of 153 test samples).",
    ),
    "nearly as large": (
        lambda: head(replace(TEACHER, size_bytes={"onnx": 1020}), EXACT),
        "The student reaches 80.00 % accuracy where the teacher reaches 85.00 % (−5.00 points) and is as large (1.00 kB "
        "instead of 1.02 kB).",
    ),
    "smaller": (
        lambda: head(replace(TEACHER, size_bytes={"onnx": 2000}), EXACT),
        "The student reaches 80.00 % accuracy where the teacher reaches 85.00 % (−5.00 points) and is 2.00× smaller "
        "(1.00 kB instead of 2.00 kB).",
    ),
    "larger": (
        lambda: head(replace(TEACHER, size_bytes={"onnx": 500}), EXACT),
        "The student reaches 80.00 % accuracy where the teacher reaches 85.00 % (−5.00 points) and is 2.00× larger "
        "(1.00 kB instead of 500 B).",
    ),
    "timed beside nothing": (
        lambda: head(STUDENT, timings=(timing("student"),)),
        "The student reaches 80.00 % accuracy and answers in 2.00 ms (1 thread, batch 1).",
    ),
}


@pytest.mark.parametrize("row", SENTENCES)
def test_the_sentence_says_what_the_facts_allow(row: str) -> None:
    made, sentence = SENTENCES[row]
    assert made().sentence == sentence


HERE = "the teacher on ONNX Runtime CPU"
SPEEDS: Mapping[str, tuple[tuple[float, float | None, float | None], str]] = {
    "faster": ((2.0, 1.01, 3.0), f"runs 2.00× (1.01–3.00) as fast as {HERE}"),
    "an interval that ends at 1": ((2.0, 1.0, 3.0), f"shows no difference in speed to {HERE}: 2.00× (1.00–3.00)"),
    "slower": ((0.8, 0.7, 0.99), f"is slower than {HERE}: 0.800× (0.700–0.990) its speed"),
    "an interval that begins below 1 and ends at it": (
        (0.8, 0.7, 1.0),
        f"shows no difference in speed to {HERE}: 0.800× (0.700–1.00)",
    ),
    "one start": (
        (16.1, None, None),
        f"ran 16.1× as fast as {HERE} in the one start that was timed, which does not tell how the next would differ",
    ),
    "one start, slower": (
        (0.5, None, None),
        f"ran 0.500× as fast as {HERE} in the one start that was timed, which does not tell how the next would differ",
    ),
}


@pytest.mark.parametrize("row", SPEEDS)
def test_a_speed_is_claimed_as_far_as_its_interval_over_starts_goes(row: str) -> None:
    (ratio, low, high), words = SPEEDS[row]
    timings = (timing("teacher"), timing("student", Speedup(ratio, low, high, "teacher")))

    said = head(replace(TEACHER, size_bytes={}), EXACT, timings=timings).sentence

    assert said.endswith(f" and {words} (1 thread, batch 1).")


def test_a_speed_against_the_teacher_as_it_came_says_where_that_ran() -> None:
    timings = (timing("teacher", runtime="torch"), timing("student", in_torch=Speedup(2.0, 1.9, 2.1, "teacher")))

    said = head(replace(TEACHER, size_bytes={}), EXACT, timings=timings).sentence

    assert said.endswith("and runs 2.00× (1.90–2.10) as fast as the teacher in PyTorch (1 thread, batch 1).")


MET, MISSED = Budget("max_drop", 1.0, 1.0, "points", True), Budget("max_size_mb", 1.0, None, "MB", False)


@pytest.mark.parametrize(
    ("budgets", "verdict", "sentence"),
    [
        ((), "none", "No budget was stated."),
        ((MET,), "met", "The budget is met."),
        ((MET, MET), "met", "All 2 budgets are met."),
        ((MISSED,), "missed", "Missed: max_size_mb."),
        ((MET, MISSED), "missed", "Missed: max_size_mb (1 of 2 budgets)."),
    ],
)
def test_one_budget_that_is_missed_decides(budgets: tuple[Budget, ...], verdict: str, sentence: str) -> None:
    said = head(STUDENT, budgets=budgets)
    assert (said.verdict, said.verdict_sentence) == (verdict, sentence)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda: head(TEACHER, STUDENT), "Whether the teacher helped is not known: no control was measured."),
        (lambda: head(STUDENT, taught=ALONE), "Whether this helped is not known: no control was measured."),
        (lambda: head(TEACHER, STUDENT, distilled=False), ""),
        (lambda: head(TEACHER, STUDENT, compared=True), ""),
        (
            lambda: head(
                TEACHER,
                candidate("control", accuracy(0.75)),
                candidate("distilled", accuracy(0.80, paired(0.05, 0.01))),
                candidate("student", accuracy(0.5, majority=AT_MOST)),
            ),
            f"The teacher helped: +5.00 points over {OVER}, both before any further link.",
        ),
    ],
)
def test_of_a_teacher_is_said_only_what_a_control_shows(made: Callable[[], Headline], sentence: str) -> None:
    assert made().gain_sentence == sentence

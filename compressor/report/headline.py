"""What the numbers say, in sentences: the student against the teacher, the control and the user's budgets.

Both models of a comparison answered the same samples, so a difference in accuracy is judged by McNemar's exact test: it
is called noise when chance alone would do as much in more than one case of twenty. Where no such test was made (another
runtime, a model that was judged elsewhere, older measurements) it is noise when it is no larger than two independent sets
of samples would differ by, from the widths of the 95 % intervals. A metric that is no share of right answers has neither,
and is not judged. Whether a teacher helped is said only of models that are shown to be better than chance (`chance.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from compressor.measure.record import Accuracy, Budget, Candidate, Speedup, Timing
from compressor.report import chance
from compressor.report import format as fmt
from compressor.report.facts import Headline, Taught, find_candidate, find_timing, payload_of, runtime_title
from compressor.scores import Metric

_SAME_SIZE = 0.02
_KEPT_FOR_SIZE = " Quantization is kept for its size: no gain in speed over float was shown."
_SAME = 1e-9  # the paired test is about the share of right answers; another metric differs by something else


@dataclass(frozen=True)
class Difference:
    """A difference of the metric as it is (shares in 0–1), and whether the samples can show it; None where nothing tells."""

    value: float
    within_noise: bool | None
    samples: int

    @property
    def caveat(self) -> str:
        """What is to be said of it, empty where it is real."""
        if self.within_noise is None:
            return f"not tested on {fmt.count(self.samples)} test samples"
        return f"within the noise of {fmt.count(self.samples)} test samples" if self.within_noise else ""


@dataclass(frozen=True)
class _Speed:
    speedup: Speedup | None
    against: str
    student: Timing
    base: Timing | None


@dataclass(frozen=True)
class _Reference:
    """What the student is held against: a measured candidate, or a teacher that only its own stage has judged."""

    role: str
    words: str
    accuracy: Accuracy | None
    value: float | None


@dataclass(frozen=True)
class _Sizes:
    teacher: int
    student: int
    payload: str

    @property
    def ratio(self) -> float:
        return self.teacher / self.student


def judge(
    candidates: tuple[Candidate, ...],
    timings: tuple[Timing, ...],
    budgets: tuple[Budget, ...],
    *,
    metric: Metric,
    base: str,
    taught: Taught | None = None,
    compared: bool = False,
    distilled: bool = True,
    kept_for_size: bool = False,
) -> Headline:
    """Everything the first screen says.

    Args:
        candidates: What was measured.
        timings: Its latencies.
        budgets: What the user will accept.
        metric: That accuracy is judged by.
        base: Role that speed-ups are against.
        taught: Who taught the student, where that is recorded.
        compared: They are models of any origin, called by their titles: nobody taught anybody.
        distilled: The student was distilled, so that there is something to say of what its teacher gave it.
        kept_for_size: It is quantized, and was not shown to be faster than in float.
    """
    titles = {each.role: each.title for each in candidates} if compared else {}
    verdict, verdict_sentence = _verdict(budgets)
    student = find_candidate(candidates, "student")
    if student is None or not student.accuracy:
        sentence = "No student was measured, so there is nothing to compare with the teacher."
        return Headline(sentence, verdict, verdict_sentence, "")
    runtime = deployed_runtime(student)
    own = student.accuracy_on(runtime)
    assert own is not None, "the deployed runtime is one of those measured"
    reference = _reference(candidates, runtime, metric, base=base, taught=taught, titles=titles)
    teacher = reference.accuracy
    change = _change(own, reference, metric)
    taught_one = _as_it_was_taught(candidates, student)
    shared, control = _shared(taught_one, find_candidate(candidates, "control"), runtime)
    gain = difference(shared, control, metric, "control")
    speed = _speed(timings, runtime, base, titles)
    other = find_candidate(candidates, reference.role) if reference.role != "student" else None
    sizes = _sizes(other, student, runtime)
    return Headline(
        sentence=_sentence(own, reference, metric, change, speed, sizes, taught, title=titles.get("student"))
        + (_KEPT_FOR_SIZE if kept_for_size else ""),
        verdict=verdict,
        verdict_sentence=verdict_sentence,
        gain_sentence=""
        if compared or not distilled
        else _gain_sentence(
            gain,
            (shared, control),
            metric,
            alone=_has_no_teacher(candidates, taught),
            before_more=taught_one is not student,
        ),
        chance_sentence=chance.sentence(
            [(_the(each.role, titles), _comparable(each, runtime)) for each in candidates], metric=metric
        ),
        base=reference.role,
        base_words=reference.words or "the teacher",
        runtime=runtime,
        profile=speed.student.profile if speed else None,
        samples=own.samples,
        teacher=reference.value,
        teacher_runtime=teacher.runtime if teacher else None,
        student=own.metrics.get(metric.name),
        control=control.metrics.get(metric.name) if control else None,
        change=change.value if change else None,
        change_within_noise=change.within_noise if change else None,
        gain=gain.value if gain else None,
        gain_within_noise=gain.within_noise if gain else None,
        gain_told=gain is not None and not (gain.caveat or _not_learned(shared, control)),
        speedup=speed.speedup if speed else None,
        speedup_against=speed.against if speed and speed.speedup else None,
        latency_ms=speed.student.p50_ms if speed else None,
        teacher_latency_ms=speed.base.p50_ms if speed and speed.base else None,
        size_ratio=sizes.ratio if sizes else None,
        size_payload=sizes.payload if sizes else None,
        teacher_size=sizes.teacher if sizes else None,
        student_size=student.size_bytes.get(payload_of(runtime)),
    )


def gain_over_control(student: Accuracy, control: Accuracy | None, *, metric: Metric) -> str:
    """What the teacher was worth, in one sentence, and whether there are samples enough to tell."""
    gain = difference(student, control, metric, "control")
    return _gain_sentence(gain, (student, control), metric, alone=False, before_more=False)


def deployed_runtime(candidate: Candidate) -> str:
    """The runtime a candidate is judged on: the first that runs the exported file, else the first measured."""
    runtimes = [entry.runtime for entry in candidate.accuracy]
    return next((name for name in runtimes if payload_of(name) == "onnx"), runtimes[0])


def _reference(
    candidates: tuple[Candidate, ...],
    runtime: str,
    metric: Metric,
    *,
    base: str,
    taught: Taught | None,
    titles: Mapping[str, str],
) -> _Reference:
    """The teacher; without one that was measured, what its stage says of it; else the control; else the base."""
    known = {base: _the(base, titles), "teacher": "the teacher", "control": "the same network trained alone", **titles}
    order = ("teacher", "control", *(() if base in ("teacher", "control", "student") else (base,)))
    for role, words in ((role, known[role]) for role in order):
        if role == "control" and taught is not None and metric.name in taught.metrics:
            return _Reference("teacher", f"its teacher ({taught.words})", None, taught.metrics[metric.name])
        found = _comparable(find_candidate(candidates, role), runtime)
        if found is not None:
            return _Reference(role, words, found, found.metrics.get(metric.name))
    return _Reference("student", "", None, None)


def _change(own: Accuracy, reference: _Reference, metric: Metric) -> Difference | None:
    """Student minus reference; one that was judged elsewhere has no answers to pair with."""
    if reference.accuracy is not None:
        return difference(own, reference.accuracy, metric, reference.role)
    if reference.value is None or metric.name not in own.metrics:
        return None
    value = own.metrics[metric.name] - reference.value
    return Difference(value, _within(value, own), own.samples)


def _has_no_teacher(candidates: tuple[Candidate, ...], taught: Taught | None) -> bool:
    return find_candidate(candidates, "teacher") is None and (taught is None or taught.alone)


def _comparable(candidate: Candidate | None, runtime: str) -> Accuracy | None:
    """The accuracy on the same runtime, else on the first one measured."""
    if candidate is None or not candidate.accuracy:
        return None
    return candidate.accuracy_on(runtime) or candidate.accuracy[0]


def _as_it_was_taught(candidates: tuple[Candidate, ...], student: Candidate) -> Candidate:
    """What the teacher made, before it was cut or quantized: only that is the control's like."""
    distilled = find_candidate(candidates, "distilled")
    return distilled if distilled is not None and distilled.accuracy else student


def _shared(student: Candidate, control: Candidate | None, runtime: str) -> tuple[Accuracy, Accuracy | None]:
    """Student and control on one runtime: a control is often judged in PyTorch alone."""
    other = _comparable(control, runtime)
    own = student.accuracy_on(other.runtime) if other else None
    return own or student.accuracy[0], other


def difference(own: Accuracy, other: Accuracy | None, metric: Metric, role: str) -> Difference | None:
    """Of a metric: one model minus the other, whose role is given, and whether the samples can show it."""
    if other is None or metric.name not in own.metrics or metric.name not in other.metrics:
        return None
    value = own.metrics[metric.name] - other.metrics[metric.name]
    test = own.paired_with(role)
    # of samples that were drawn again the difference is a gain, of right answers that were counted it is as it is
    tested = metric.gain(value) if test is not None and test.resamples else value
    if test is not None and own.runtime == other.runtime and abs(test.difference - tested) < _SAME:
        return Difference(value, not test.real, own.samples)
    return Difference(value, _within(value, own, other), own.samples)


def _within(value: float, *judged: Accuracy) -> bool | None:
    """Of models whose answers cannot be paired; one of which the interval is not known counts as sure as the other."""
    widths = [each.half_width for each in judged if each.half_width is not None]
    return abs(value) <= math.hypot(widths[0], widths[-1]) if widths else None


def _speed(timings: tuple[Timing, ...], runtime: str, base: str, titles: Mapping[str, str]) -> _Speed | None:
    """The student's timing under the first profile, with the best-founded comparison there is."""
    own = next((entry for entry in timings if entry.role == "student" and entry.runtime == runtime), None)
    if own is None:
        return None
    if own.speedup is not None:
        other = find_timing(timings, role=own.speedup.against, runtime=runtime, profile=own.profile)
        return _Speed(own.speedup, f"{_the(own.speedup.against, titles)} on {runtime_title(runtime)}", own, other)
    torch = own.speedup_against_teacher_torch
    if torch is not None and torch.against == "student":
        torch = None  # against itself in another runtime, which says nothing of what was gained
    role = torch.against if torch else base
    other = find_timing(timings, role=role, runtime="torch", profile=own.profile)
    return _Speed(torch, f"{_the(role, titles)} in PyTorch", own, other)


def _the(role: str, titles: Mapping[str, str]) -> str:
    if role in titles:
        return titles[role]
    return "the student before the cut" if role == "distilled" else f"the {role}"


def _sizes(teacher: Candidate | None, student: Candidate, runtime: str) -> _Sizes | None:
    """Both sizes in the same stored form: the deployed one, else PyTorch's."""
    if teacher is not None and teacher.role == "control" and teacher.params == student.params:
        payload = payload_of(runtime)
        if alike(teacher.size_bytes.get(payload), student.size_bytes.get(payload)):
            return None  # the same network twice
    for payload in dict.fromkeys((payload_of(runtime), "torch")):
        if teacher and teacher.size_bytes.get(payload) and student.size_bytes.get(payload):
            return _Sizes(teacher.size_bytes[payload], student.size_bytes[payload], payload)
    return None


def alike(one: float | None, other: float | None) -> bool:
    """Whether two sizes may be called the same."""
    return one is not None and other is not None and abs(one - other) <= _SAME_SIZE * max(one, other)


def _sentence(
    own: Accuracy,
    reference: _Reference,
    metric: Metric,
    change: Difference | None,
    speed: _Speed | None,
    sizes: _Sizes | None,
    taught: Taught | None,
    *,
    title: str | None,
) -> str:
    alone = taught is not None and taught.alone and reference.role != "teacher"
    start = f"Learnt without a teacher ({taught.words}), the student" if alone and taught else title or "The student"
    accuracy = f"{start} reaches {fmt.measured(metric, own.metrics.get(metric.name))} {metric.words}"
    if change is not None:
        noise = f", {change.caveat}" if change.caveat else ""
        theirs = fmt.measured(metric, reference.value)
        accuracy += f" where {reference.words} reaches {theirs} ({fmt.change(metric, change.value)}{noise})"
    parts = [accuracy]
    if speed is not None:
        parts.append(_speed_words(speed))
    if sizes is not None:
        parts.append(_size_words(sizes))
    return f"{', '.join(parts[:-1])} and {parts[-1]}." if len(parts) > 1 else f"{parts[0]}."


def _speed_words(speed: _Speed) -> str:
    condition = fmt.conditions(speed.student.threads, speed.student.batch, speed.student.sizes)
    if speed.speedup is None:
        return f"answers in {fmt.milliseconds(speed.student.p50_ms)} ({condition})"
    faster = speed.speedup
    if faster.low is None:
        ran = f"ran {fmt.times(faster.ratio)} as fast as {speed.against} in the one start that was timed"
        return f"{ran}, which does not tell how the next would differ ({condition})"
    text = fmt.ratio(faster.ratio, low=faster.low, high=faster.high)
    if not faster.conclusive:
        return f"shows no difference in speed to {speed.against}: {text} ({condition})"
    if faster.ratio < 1:
        return f"is slower than {speed.against}: {text} its speed ({condition})"
    return f"runs {text} as fast as {speed.against} ({condition})"


def _size_words(sizes: _Sizes) -> str:
    how = f"{fmt.size(sizes.student)} instead of {fmt.size(sizes.teacher)}"
    if alike(sizes.student, sizes.teacher):
        return f"is as large ({how})"
    if sizes.ratio >= 1:
        return f"is {fmt.times(sizes.ratio)} smaller ({how})"
    return f"is {fmt.times(1 / sizes.ratio)} larger ({how})"


def _gain_sentence(
    gain: Difference | None, judged: tuple[Accuracy, Accuracy | None], metric: Metric, *, alone: bool, before_more: bool
) -> str:
    """Whether teaching paid.

    Args:
        gain: Student minus control.
        judged: Both of them.
        alone: Nobody but the student itself taught.
        before_more: Later links are left out.
    """
    who, against = ("this", "trained on the labels alone") if alone else ("the teacher", "trained without the teacher")
    against = f"the same student {against}" + (", both before any further link" if before_more else "")
    if gain is None:
        return f"Whether {who} helped is not known: no control was measured."
    caveat = _not_learned(*judged) or gain.caveat
    if caveat:
        return f"Whether {who} helped cannot be told: {fmt.change(metric, gain.value)} against {against}, {caveat}."
    if metric.gain(gain.value) > 0:
        return f"{who.capitalize()} helped: {_lead(metric, gain.value)} over {against}."
    return f"{who.capitalize()} hurt: {_lead(metric, gain.value)} against {against}."


def _lead(metric: Metric, change: float) -> str:
    """A difference after words that say which way it is: without a second "better" or "worse"."""
    return fmt.change(metric, change).removesuffix(" better").removesuffix(" worse")


def _not_learned(student: Accuracy, control: Accuracy | None) -> str:
    """Which of the two is not shown to be better than chance; a difference between such models says nothing of a teacher."""
    student_is, control_is = chance.at_chance(student), chance.at_chance(control)
    if student_is and control_is:
        return "and neither is shown to be better than chance"
    if student_is or control_is:
        return f"and the {'student' if student_is else 'control'} is not shown to be better than chance"
    return ""


def _verdict(budgets: tuple[Budget, ...]) -> tuple[Literal["met", "missed", "none"], str]:
    if not budgets:
        return "none", "No budget was stated."
    missed = [budget.budget for budget in budgets if not budget.met]
    if missed:
        share = f" ({len(missed)} of {len(budgets)} budgets)" if len(budgets) > 1 else ""
        return "missed", f"Missed: {', '.join(missed)}{share}."
    return "met", "The budget is met." if len(budgets) == 1 else f"All {len(budgets)} budgets are met."

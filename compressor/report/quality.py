"""How the answers differ: calibration, classes that gained and lost, decisions that changed, samples that were lost.

Everything is about the deployed model on the full test set, beside the teacher on the same runtime.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor import label_sets
from compressor.measure.record import Accuracy, Candidate, Paired, WorstSample
from compressor.report import format as fmt
from compressor.report.facts import ReportData, find_candidate, runtime_title
from compressor.report.figures import MOST_ROWS, Figure, colour, empty_layout, label, names_axis
from compressor.report.headline import deployed_runtime
from compressor.report.tables import Table
from compressor.scores import Metric

_MOST_CHANGES = 15
_MOST_CLASSES = 40


@dataclass(frozen=True)
class Picture:
    """A sample that was lost, for the eye.

    Attributes:
        source: A `data:` URL of a PNG; empty when the samples are no pictures.
        alt: What it shows, in words.
        text: The sample itself, where it is a text; empty otherwise.
        truth: Its class.
        before: What the teacher answered.
        after: What the student answers.
    """

    source: str
    alt: str
    truth: str
    before: str
    after: str
    text: str = ""


def reliability(data: ReportData) -> Figure | None:
    """Confidence against accuracy: on the diagonal a probability means what it says."""
    shown = [(candidate, entry) for candidate, entry in _deployed(data) if entry.reliability]
    if not shown:
        return None
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [0, 1],
            "y": [0, 1],
            "line": {"color": "rgba(128,128,128,0.55)", "dash": "dot", "width": 1.5},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    ]
    rows = []
    what = data.wording.decided
    for candidate, entry in shown:
        largest = max(each.samples for each in entry.reliability)
        title = label(candidate.title)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{title}, ECE {fmt.percent(entry.metrics.get('ece'))}",
                "x": [each.confidence for each in entry.reliability],
                "y": [each.accuracy for each in entry.reliability],
                "marker": {
                    "color": colour(candidate.role),
                    "size": [6 + 14 * (each.samples / largest) ** 0.5 for each in entry.reliability],
                    "opacity": 0.8,
                },
                "text": [
                    f"<b>{title}</b><br>{fmt.count(each.samples)} {what}, confidence {fmt.percent(each.confidence)},"
                    f"<br>right {fmt.percent(each.accuracy)}"
                    for each in entry.reliability
                ],
                "hoverinfo": "text",
            }
        )
        rows += [
            (
                candidate.title,
                f"{each.low:.2f}–{each.high:.2f}",
                fmt.count(each.samples),
                fmt.percent(each.confidence),
                fmt.percent(each.accuracy),
            )
            for each in entry.reliability
        ]
    layout = empty_layout(height=400)
    layout["xaxis"] |= {"title": {"text": "confidence of the answer"}, "tickformat": ".0%", "range": [0, 1.02]}
    layout["yaxis"] |= {"title": {"text": "share that is right"}, "tickformat": ".0%", "range": [0, 1.04]}
    return Figure(
        name="reliability",
        title="Does a probability mean what it says?",
        caption=(
            f"Below the dotted line a model is surer than it is right. Larger marks stand for more {what}. "
            f"ECE: mean distance to the line, over all {what}."
        ),
        traces=tuple(traces),
        layout=layout,
        columns=("Model", "Confidence", what.capitalize(), "Mean confidence", "Right"),
        rows=tuple(rows),
    )


def _by_change(change: tuple[str, int, float, float]) -> float:
    return change[3] - change[2]


def class_changes(data: ReportData) -> Figure | None:
    """What each class gained or lost from the teacher to the student."""
    pair = _base_and_student(data)
    if pair is None or not pair[0].per_class or not pair[1].per_class:
        return None
    changes = [
        (before.name, before.samples, before.score, after.score)
        for before, after in zip(pair[0].per_class, pair[1].per_class, strict=False)
        if before.score is not None and after.score is not None
    ]
    if not changes:
        return None
    words = data.wording
    by_loss = sorted(changes, key=_by_change)
    kept = sorted(sorted(changes, key=lambda each: -abs(_by_change(each)))[:_MOST_CLASSES], key=_by_change)
    differences = [_by_change(each) for each in kept]
    positions = list(range(len(kept)))[::-1]
    good, bad = "#0d9488", "#d97706"
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": differences,
        "y": positions,
        "marker": {"color": [good if value >= 0 else bad for value in differences]},
        "text": [
            f"<b>{label(name)}</b><br>{fmt.percent(b)} → {fmt.percent(a)}, {fmt.count(n)} {words.counted}"
            for name, n, b, a in kept
        ],
        "textposition": "none",
        "hoverinfo": "text",
        "showlegend": False,
        "width": 0.66,
    }
    layout = empty_layout(height=100 + 26 * len(kept), legend=False)
    layout["xaxis"] |= {
        "title": {"text": f"change from {label(data.called(data.base))} to {label(data.called('student'))}, points"},
        "tickformat": "+.1%",
        "zeroline": True,
    }
    layout["yaxis"] |= names_axis(positions, [(name,) for name, *_ in kept])
    return Figure(
        name="class-changes",
        title=f"Which {words.many} lost",
        caption=f"{words.score} of each, "
        f"{data.called('student')} minus {data.called(data.base)}, the largest loss first"
        + ("." if len(kept) == len(by_loss) else f"; the {len(kept)} of {len(by_loss)} that changed most."),
        traces=(trace,),
        layout=layout,
        columns=(
            words.one.capitalize(),
            words.counted.capitalize(),
            *(data.called(role, heading=True) for role in (data.base, "student")),
            "Change",
        ),
        rows=tuple(
            (each[0], fmt.count(each[1]), fmt.percent(each[2]), fmt.percent(each[3]), fmt.points(_by_change(each)))
            for each in by_loss[:MOST_ROWS]
        ),
    )


def changed_decisions(data: ReportData) -> Table:
    """Where the student answers another class than the teacher, the most frequent changes first."""
    if data.label_sets:
        return _changed_sets(data)
    answers = (f"{data.called(role, heading=True)} answers" for role in (data.base, "student"))
    columns = (*answers, "Samples", f"Of those {data.the(data.base)} calls so")
    pair = _base_and_student(data)
    matrix = pair[1].confusion_with_base if pair else None
    if not matrix:
        return Table("Decisions that changed", columns, ())
    counts = np.array(matrix)
    changed = counts.copy()
    np.fill_diagonal(changed, 0)
    order = np.argsort(-changed, axis=None, kind="stable")[:_MOST_CHANGES]
    rows = []
    for before, after in zip(*np.unravel_index(order, changed.shape), strict=True):
        if changed[before, after]:
            share = changed[before, after] / counts[before].sum()
            names = data.classes[before], data.classes[after]
            rows.append((*names, fmt.count(int(changed[before, after])), fmt.percent(float(share))))
    total = fmt.count(int(changed.sum()))
    return Table(f"Decisions that changed, {total} in all", columns, tuple(rows), frozenset({2, 3}))


def _changed_sets(data: ReportData) -> Table:
    """For each class how often the student left it out or added it, those with the most changes first."""
    base, student = (data.called(role, heading=True) for role in (data.base, "student"))
    columns = ("Class", f"{base} and {data.called('student')} tell it", f"{base} alone", f"{student} alone")
    pair = _base_and_student(data)
    told = pair[1].sets_with_base if pair else ()
    changed = [
        (name, each) for name, each in zip(data.classes, told, strict=False) if each.base_alone + each.this_alone
    ]
    changed.sort(key=lambda item: -(item[1].base_alone + item[1].this_alone))
    rows = tuple(
        (name, fmt.count(each.both), fmt.count(each.base_alone), fmt.count(each.this_alone))
        for name, each in changed[:_MOST_CHANGES]
    )
    total = fmt.count(sum(each.base_alone + each.this_alone for _, each in changed))
    return Table(f"Decisions that changed, {total} in all", columns, rows, frozenset({1, 2, 3}))


def calibration(data: ReportData) -> Table:
    """Every metric of every model on the runtime it is judged on."""
    shown = _deployed(data)
    names = list(dict.fromkeys(name for _, entry in shown for name in entry.metrics))
    rows = tuple(
        (
            candidate.title,
            runtime_title(entry.runtime),
            *(_metric(data, name, entry.metrics.get(name)) for name in names),
        )
        for candidate, entry in shown
    )
    columns = ("Model", "Runs on", *(name.replace("_", " ") for name in names))
    roles = tuple(candidate.role for candidate, _ in shown)
    return Table("Every metric, on the test split", columns, rows, frozenset(range(2, len(columns))), roles)


def paired(data: ReportData) -> Table:
    """Whether a difference is real: both models answered the same samples, so only those where one errs alone count."""
    rows = []
    roles = []
    for candidate, entry in _deployed(data):
        for test in entry.paired if candidate.role != data.base else ():
            other = find_candidate(data.candidates, test.against)
            rows.append(
                (
                    candidate.title,
                    other.title if other else test.against,
                    *_tested(test, data.primary),
                    "—" if test.resamples else fmt.count(test.other_only),
                    "—" if test.resamples else fmt.count(test.base_only),
                    "below 0.0001" if test.p_value < 1e-4 else f"{test.p_value:.4f}",
                    "real" if test.real else "could be chance",
                )
            )
            roles.append(candidate.role)
    resampled = any(test.resamples for _, entry in _deployed(data) for test in entry.paired)
    columns = (
        "Model",
        "Against",
        "Change",
        "95 % interval",
        "It alone right",
        "Other alone right",
        "p (samples drawn again)" if resampled else "p (McNemar)",
        "The difference is",
    )
    another = any(entry.interval is None for _, entry in _deployed(data))
    caption = "Is the difference real?" + (" Told by the share of right answers" if another and rows else "")
    return Table(caption, columns, tuple(rows), frozenset(range(2, 7)), tuple(roles))


def _tested(test: Paired, metric: Metric) -> tuple[str, str]:
    """The difference that was tested and its interval: of right answers, or of the metric where samples were drawn again."""
    if not test.resamples:
        metric = Metric("right")
    ends = sorted(metric.gain(bound) for bound in (test.low, test.high))  # tests are about gains
    return fmt.change(metric, metric.gain(test.difference)), fmt.change_range(metric, *ends)


def gallery(data: ReportData) -> tuple[Picture, ...]:
    """The samples that the student lost, the surest of its errors first."""
    worst = data.worst
    if worst is None:
        return ()
    pictures: Sequence[Any] = worst.pictures if worst.pictures is not None else [None] * len(worst.samples)
    name = label_sets.named if data.label_sets else _name
    named = partial(name, classes=data.classes)
    return tuple(_picture(sample, pixels, named) for sample, pixels in zip(worst.samples, pictures, strict=False))


def png(pixels_CHW: NDArray[np.uint8]) -> bytes:
    """A PNG of grey or RGB pixels (PNG specification, third edition: one IHDR, IDAT and IEND, no filter)."""
    channels, height, width = pixels_CHW.shape
    rows = np.moveaxis(pixels_CHW, 0, -1).reshape(height, width * channels)
    raw = np.hstack([np.zeros((height, 1), np.uint8), rows]).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _picture(sample: WorstSample, pixels: Any, name: Callable[[int], str]) -> Picture:
    source = ""
    if pixels is not None:
        small = _reduced(np.asarray(pixels), most=_MOST_OF_FOUR if sample.miou else 96)
        source = "data:image/png;base64," + base64.b64encode(png(small)).decode("ascii")
    if sample.numbers:
        truth, before, after = (", ".join(map(fmt.significant, row)) for row in sample.numbers)
        return Picture(source, f"test sample {sample.position}, which is {truth}", truth, before, after)
    if sample.miou:
        alt = f"test sample {sample.position} with its mask, and below the masks of both models"
        before, after = (f"mIoU {fmt.percent(value)}" for value in sample.miou)
        return Picture(source, alt, "above right", f"{before}, below left", f"{after}, below right")
    truth, before, after = (name(number) for number in (sample.label, sample.base, sample.answer))
    return Picture(
        source=source,
        alt=f"test sample {sample.position}, a {truth}",
        truth=truth,
        before=f"{before} ({fmt.percent(sample.base_probability, digits=0)})",
        after=f"{after} ({fmt.percent(sample.probability, digits=0)})",
        text=sample.text,
    )


_MOST_OF_FOUR = 240
"""Pixels of the longer side of a picture with three masks, so that a mask keeps what a picture alone does."""


def _reduced(pixels_CHW: NDArray[np.uint8], *, most: int = 96) -> NDArray[np.uint8]:
    """Every n-th pixel, so that a report of large photographs stays small enough for a mail."""
    step = max(1, -(-max(pixels_CHW.shape[1:]) // most))
    return np.ascontiguousarray(pixels_CHW[:, ::step, ::step])


def _name(number: int, classes: Sequence[str]) -> str:
    return classes[number] if 0 <= number < len(classes) else "nothing"


def _deployed(data: ReportData) -> list[tuple[Candidate, Accuracy]]:
    found = []
    for candidate in data.candidates:
        entry = candidate.accuracy_on(deployed_runtime(candidate)) if candidate.accuracy else None
        if entry is not None:
            found.append((candidate, entry))
    return found


def _base_and_student(data: ReportData) -> tuple[Accuracy, Accuracy] | None:
    student = data.candidate("student")
    teacher = data.candidate(data.base)
    if student is None or teacher is None or student is teacher or not student.accuracy:
        return None
    runtime = deployed_runtime(student)
    after, before = student.accuracy_on(runtime), teacher.accuracy_on(runtime)
    return (before, after) if before is not None and after is not None else None


def _metric(data: ReportData, name: str, value: float | None) -> str:
    """The metric that counts with its unit; of others a share in percent, or the number alone."""
    if name == data.metric or data.meaning(name).is_share:
        return fmt.measured(data.meaning(name), value)
    return fmt.ABSENT if value is None else fmt.significant(value)

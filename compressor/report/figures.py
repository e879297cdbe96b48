"""The figures of a report as plain Plotly dictionaries: data and layout, no theme; the page adds colours of the theme.

Every figure carries a caption and the table of its numbers, so nothing can be read from a picture alone. Names that the
user chose are escaped, as Plotly reads a few HTML tags in its labels.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compressor.measure.record import Accuracy, Candidate, Timing
from compressor.measure.statistics import blocks_of_starts
from compressor.plain_text import on_one_line
from compressor.report import format as fmt
from compressor.report.facts import Link, ReportData, payload_of, runtime_title
from compressor.report.headline import deployed_runtime
from compressor.scores import Metric

MOST_ROWS = 1000
"""Of a table of classes: with more it has those that are drawn, or the first; all are in report.json."""
MAX_CLASSES_SHOWN = 40
MAX_LABEL = 28

# Chosen to be told apart by people who see fewer colours, and to hold 3:1 against white and against the dark page.
_COLOURS = {
    "teacher": "#6b7f99",
    "control": "#d97706",
    "distilled": "#3b82f6",
    "pruned": "#8b5cf6",
    "student": "#0d9488",
}
_OTHER_COLOUR = "#a855f7"
_SYMBOLS = {
    "teacher": "square",
    "control": "diamond",
    "distilled": "triangle-up",
    "pruned": "triangle-down",
    "student": "circle",
}
_DASHES = {"teacher": "dot", "control": "dash", "student": "solid"}
_ROW_HEIGHT = 46


@dataclass(frozen=True)
class Figure:
    """One figure: what Plotly draws, what it shows in words, the same numbers as a table, and the command that makes it."""

    name: str
    title: str
    caption: str
    traces: tuple[dict[str, Any], ...]
    layout: dict[str, Any]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    command: str = ""


def figures(data: ReportData) -> tuple[Figure, ...]:
    """Every figure that the measurements have numbers for, in reading order."""
    drawn = [
        accuracy_against_latency(data),
        *(latency_distribution(data, profile) for profile in data.profiles),
        speedup_by_block(data),
        accuracy_per_class(data),
        training_curve(data, quantity=data.metric),
        training_curve(data, quantity="loss"),
        sizes(data),
    ]
    return tuple(figure for figure in drawn if figure is not None)


def colour(role: str) -> str:
    """The colour of a role, the same in every figure and table."""
    return _COLOURS.get(role, _OTHER_COLOUR)


def label(text: str) -> str:
    """A user's name as a Plotly label: shortened in its middle, as names often differ at their ends, and inert."""
    kept = (MAX_LABEL - 1) // 2
    short = text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1 - kept]}…{text[-kept:]}"
    return html.escape(on_one_line(short), quote=False)


def accuracy_against_latency(data: ReportData) -> Figure | None:
    """Accuracy over p50 latency under the first profile: up and to the left is better."""
    if not data.profiles:
        return None
    profile = data.profiles[0]
    shown = [
        (candidate, entry, timing)
        for candidate in data.candidates
        for entry in sorted(candidate.accuracy, key=lambda entry: payload_of(entry.runtime))  # filled marks first
        if data.metric in entry.metrics and (timing := data.timing(candidate.role, entry.runtime, profile))
    ]
    if not shown:
        return None
    by_role = [[point for point in shown if point[0] is candidate] for candidate in data.candidates]
    metric = data.primary
    best = pareto_front([(timing.p50_ms, metric.gain(entry.metrics[data.metric])) for _, entry, timing in shown])
    front = [(latency, metric.gain(gained)) for latency, gained in best]
    traces = [_front(front), *(_points(points, metric) for points in by_role if points)]
    latencies = [timing.p50_ms for _, _, timing in shown]
    layout = empty_layout(height=400)
    layout["xaxis"] |= latency_axis(latencies) | {"title": {"text": f"p50 latency, {label(profile)} (ms)"}}
    layout["yaxis"] |= {"title": {"text": _axis_title(metric)}} | ticks(metric, ".1%")
    return Figure(
        name="accuracy-against-latency",
        title=f"{fmt.headed(fmt.called(metric))} against latency",
        caption=(
            f"{'Up' if metric.larger_is_better else 'Down'} and to the left is better; "
            "nothing here beats a model on the stepped line in both. "
            f"Bars are 95 % intervals of the {fmt.called(metric)} on {fmt.count(shown[0][1].samples)} "
            f"test samples; hollow marks run in PyTorch."
        ),
        traces=tuple(traces),
        layout=layout,
        columns=("Model", "Runs on", "p50", fmt.headed(metric.name), "95 % interval"),
        rows=tuple(
            (
                candidate.title,
                runtime_title(entry.runtime),
                fmt.milliseconds(timing.p50_ms),
                fmt.measured(metric, entry.metrics[data.metric]),
                fmt.measured_range(metric, entry.interval),
            )
            for candidate, entry, timing in shown
        ),
    )


def _axis_title(metric: Metric) -> str:
    return metric.words if metric.is_share or not metric.unit else f"{metric.words} ({metric.unit})"


def ticks(metric: Metric, share: str) -> dict[str, str]:
    """How the numbers of an axis of the metric are written: a share as `share` says, else as they are."""
    return {"tickformat": share if metric.is_share else "~g"}


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (latency, accuracy) pairs that no other beats in both, the fastest first; of an error take what it gains."""
    front: list[tuple[float, float]] = []
    for latency, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((latency, accuracy))
    return front


def _front(front: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [latency for latency, _ in front],
        "y": [accuracy for _, accuracy in front],
        "line": {"color": "rgba(128,128,128,0.6)", "width": 1.5, "dash": "dot", "shape": "hv"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def latency_distribution(data: ReportData, profile: str) -> Figure | None:
    """Box plots of every timed inference under one profile."""
    timings = [timing for timing in data.timings if timing.profile == profile and timing.samples_ms]
    if not timings:
        return None
    spans = [np.percentile(timing.samples_ms, (5, 25, 50, 75, 95)).tolist() for timing in timings]
    names = [(data.title_of(timing.role), runtime_title(timing.runtime)) for timing in timings]
    positions = list(range(len(timings)))[::-1]
    traces = [_box(timing, span, position) for timing, span, position in zip(timings, spans, positions, strict=True)]
    traces.append(
        {
            "type": "scatter",
            "mode": "text",
            "x": [span[4] for span in spans],
            "y": positions,
            "text": [f" {fmt.milliseconds(span[2])}" for span in spans],
            "textposition": "middle right",
            "hoverinfo": "skip",
            "showlegend": False,
            "cliponaxis": False,
        }
    )
    layout = empty_layout(height=90 + _ROW_HEIGHT * len(timings), legend=False)
    edges = [span[0] for span in spans] + [span[4] for span in spans]
    layout["xaxis"] |= latency_axis(edges) | {"title": {"text": "latency of one batch (ms)"}}
    layout["yaxis"] |= names_axis(positions, names)
    first = timings[0]
    threads = "All cores" if first.threads == 0 else f"{first.threads} thread{'' if first.threads == 1 else 's'}"
    return Figure(
        name=f"latency-{data.profiles.index(profile)}",
        title=f"Latency: {profile}",
        caption=f"{threads}, batch {first.batch}. Box: middle half; line and label: p50; whiskers: p5 to p95.",
        traces=tuple(traces),
        layout=layout,
        columns=("Model", "Samples", "p5", "p25", "p50", "p75", "p95"),
        rows=tuple(
            (" · ".join(name), fmt.count(len(timing.samples_ms)), *(fmt.milliseconds(value) for value in span))
            for name, timing, span in zip(names, timings, spans, strict=True)
        ),
    )


def speedup_by_block(data: ReportData) -> Figure | None:
    """The ratio of medians in each alternating block, the raw material of the speed-up and its interval."""
    head = data.headline
    if head.speedup is None or head.runtime is None or head.profile is None:
        return None
    own = data.timing("student", head.runtime, head.profile)
    other = data.timing(head.speedup.against, head.runtime, head.profile)
    if own is None or other is None or own.speedup is None:
        return None
    ratios = block_ratios(base=other, candidate=own)
    if not ratios:
        return None
    low, high = head.speedup.low, head.speedup.high
    numbers = [block + 1 for block in ratios]
    layout = empty_layout(height=320, legend=False)
    layout["xaxis"] |= {"title": {"text": "block, in the order measured"}, "range": [0.3, max(numbers) + 0.7]}
    layout["yaxis"] |= {"title": {"text": "times as fast"}, "ticksuffix": "×"}
    band: dict[str, Any] = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": low, "y1": high}
    band |= {"line": {"width": 0}, "fillcolor": colour("student"), "opacity": 0.18, "layer": "below"}
    layout["shapes"] = [
        *([] if low is None else [band]),
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": head.speedup.ratio, "y1": head.speedup.ratio}
        | {"line": {"color": colour("student"), "width": 2}},
        *_new_starts(len(numbers), own.starts),
    ]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers,
        "y": list(ratios.values()),
        "marker": {"color": colour("student"), "size": 8},
        "text": [f"block {number}: {fmt.times(ratio)}" for number, ratio in zip(numbers, ratios.values(), strict=True)],
        "hoverinfo": "text",
    }
    started = "At each dotted line all processes were started anew. " if own.starts > 1 else ""
    return Figure(
        name="speedup-by-block",
        title="Speed-up, block by block",
        caption=(
            f"Models take turns in blocks, so a machine that drifts slows all of them. Line: the speed-up, "
            f"{fmt.times(head.speedup.ratio)}{'; band: its 95 % interval' if low is not None else ''}. {started}"
            f"Under {head.profile}, against {head.speedup_against}."
        ),
        traces=(trace,),
        layout=layout,
        columns=("Block", "Times as fast"),
        rows=tuple((str(number), fmt.times(ratio)) for number, ratio in zip(numbers, ratios.values(), strict=True)),
    )


def _new_starts(blocks: int, starts: int) -> list[dict[str, Any]]:
    """A line before the first block of each start but the first."""
    ends = np.cumsum(blocks_of_starts(blocks, starts))[:-1]
    dotted = {"color": "rgba(128,128,128,0.7)", "width": 1, "dash": "dot"}
    return [
        {"type": "line", "yref": "paper", "x0": end + 0.5, "x1": end + 0.5, "y0": 0, "y1": 1, "line": dotted}
        for end in ends.tolist()
    ]


def block_ratios(*, base: Timing, candidate: Timing) -> dict[int, float]:
    """Median of `base` over median of `candidate`, for each block that both have; above 1 the candidate is faster."""
    ours, theirs = _block_medians(candidate), _block_medians(base)
    return {block: theirs[block] / ours[block] for block in sorted(ours.keys() & theirs.keys())}


def accuracy_per_class(data: ReportData) -> Figure | None:
    """Accuracy of each class, teacher, control and student side by side."""
    measured = [
        (candidate, entry) for candidate in data.candidates if (entry := _deployed(candidate)) and entry.per_class
    ]
    if not measured:
        return None
    order = _classes_shown(measured)
    names = [score.name for score in measured[0][1].per_class]
    shift = {candidate.role: 0.22 * (index - (len(measured) - 1) / 2) for index, (candidate, _) in enumerate(measured)}
    shown = [names[index] for index in order]
    traces = [_class_marks(candidate, entry, order, shift[candidate.role]) for candidate, entry in measured]
    layout = _class_layout(shown)
    if _reads_better_as_rows(shown):
        traces = [trace | {"x": trace["y"], "y": [-position for position in trace["x"]]} for trace in traces]
    counts = [score.samples for score in measured[0][1].per_class]
    fewest, most = fmt.count(min(counts)), fmt.count(max(counts))
    words = data.wording
    caption = f"{fewest if fewest == most else f'Between {fewest} and {most}'} {words.counts_as}."
    if len(order) < len(names):
        caption += f" The {len(order)} of {len(names)} {words.many} where the models differ most."
    return Figure(
        name="accuracy-per-class",
        title=f"{words.score} of each {words.one}",
        caption=caption,
        traces=tuple(traces),
        layout=layout,
        columns=(
            words.one.capitalize(),
            words.counted.capitalize(),
            *(candidate.title for candidate, _ in measured),
        ),
        rows=tuple(
            (name, fmt.count(counts[index]), *(fmt.percent(_class_accuracy(entry, index)) for _, entry in measured))
            for index, name in enumerate(names)
            if len(names) <= MOST_ROWS or index in order
        ),
    )


def training_curve(data: ReportData, *, quantity: str) -> Figure | None:
    """A validation quantity by epoch, for every network that was trained on the way."""
    trained = [link for link in data.links if any(quantity in epoch.val for epoch in link.curve)]
    if not trained:
        return None
    metric = data.meaning(quantity)
    show = _shown_in(metric)
    layout = empty_layout(height=340)
    layout["yaxis"] |= {
        "title": {"text": f"validation {quantity}"},
    } | ticks(metric, ".0%")
    by_epoch = [{epoch.epoch: epoch.val[quantity] for epoch in link.curve if quantity in epoch.val} for link in trained]
    epochs = sorted(set().union(*by_epoch))
    last = epochs[-1] + 1
    layout["xaxis"] |= {"title": {"text": "epoch"}, "range": [0, last * 1.03], "dtick": math.ceil(last / 8)}
    return Figure(
        name=f"training-{'metric' if quantity == data.metric else quantity}",
        title=f"Validation {quantity.replace('_', ' ')} in training",
        caption="By epoch, on the validation split, before export.",
        traces=tuple(_curve(data, link, quantity) for link in trained),
        layout=layout,
        columns=("Epoch", *(data.title_of(link.role) for link in trained)),
        rows=tuple(
            (str(epoch + 1), *(show(curve[epoch]) if epoch in curve else fmt.ABSENT for curve in by_epoch))
            for epoch in epochs
        ),
    )


def sizes(data: ReportData) -> Figure | None:
    """Bytes on disk of every stored form of every candidate."""
    stored = [(candidate, form, size) for candidate in data.candidates for form, size in candidate.size_bytes.items()]
    if not stored:
        return None
    forms = {"onnx": "ONNX", "torch": "PyTorch"}
    names = [(candidate.title, forms.get(form, form)) for candidate, form, _ in stored]
    positions = list(range(len(stored)))[::-1]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [size / 1e6 for _, _, size in stored],
        "y": positions,
        "marker": {
            "color": [colour(candidate.role) for candidate, _, _ in stored],
            "opacity": [0.55 if form == "torch" else 1.0 for _, form, _ in stored],
        },
        "text": [f" {fmt.size(size)}" for _, _, size in stored],
        "textposition": "outside",
        "cliponaxis": False,
        "hoverinfo": "skip",
        "width": 0.62,
    }
    layout = empty_layout(height=90 + _ROW_HEIGHT * len(stored), legend=False)
    largest = max(size for _, _, size in stored) / 1e6
    layout["xaxis"] |= {"title": {"text": "MB (10⁶ bytes)"}, "range": [0, largest * 1.22]}
    layout["yaxis"] |= names_axis(positions, names)
    return Figure(
        name="sizes",
        title="Size on disk",
        caption="What would be shipped; paler bars are the PyTorch weights.",
        traces=(trace,),
        layout=layout,
        columns=("Model", "Size", "Bytes"),
        rows=tuple(
            (" · ".join(name), fmt.size(size), fmt.count(size))
            for name, (_, _, size) in zip(names, stored, strict=True)
        ),
    )


def _points(points: Sequence[tuple[Candidate, Accuracy, Timing]], metric: Metric) -> dict[str, Any]:
    """One candidate on each of its runtimes."""
    candidate = points[0][0]
    values = [entry.metrics[metric.name] for _, entry, _ in points]
    bounds = [entry.interval or (value, value) for (_, entry, _), value in zip(points, values, strict=True)]
    symbol, tint = _SYMBOLS.get(candidate.role, "cross"), colour(candidate.role)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label(candidate.title),
        "x": [timing.p50_ms for _, _, timing in points],
        "y": values,
        "error_y": {
            "type": "data",
            "array": [high - value for (_, high), value in zip(bounds, values, strict=True)],
            "arrayminus": [value - low for (low, _), value in zip(bounds, values, strict=True)],
            "thickness": 1.2,
            "width": 5,
            "color": tint,
        },
        "marker": {
            "color": tint,
            "size": 14,
            "symbol": [symbol + ("-open" if payload_of(entry.runtime) == "torch" else "") for _, entry, _ in points],
            "line": {"width": 2, "color": tint},
        },
        "text": [_point_words(point, metric) for point in points],
        "hoverinfo": "text",
    }


def _point_words(point: tuple[Candidate, Accuracy, Timing], metric: Metric) -> str:
    candidate, entry, timing = point
    size = fmt.size(candidate.size_bytes.get(payload_of(entry.runtime)))
    answer = f"{fmt.measured(metric, entry.metrics[metric.name])} in {fmt.milliseconds(timing.p50_ms)}, {size}"
    return f"<b>{label(candidate.title)}</b> · {label(runtime_title(entry.runtime))}<br>{answer}"


def _box(timing: Timing, span: Sequence[float], position: int) -> dict[str, Any]:
    p5, p25, p50, p75, p95 = span
    return {
        "type": "box",
        "orientation": "h",
        "y": [position],
        "lowerfence": [p5],
        "q1": [p25],
        "median": [p50],
        "q3": [p75],
        "upperfence": [p95],
        "line": {"color": colour(timing.role), "width": 1.8},
        "fillcolor": f"{colour(timing.role)}59",
        "width": 0.55,
        "whiskerwidth": 0.5,
        "hoverinfo": "x",
        "showlegend": False,
    }


def _class_marks(candidate: Candidate, entry: Accuracy, order: Sequence[int], shift: float) -> dict[str, Any]:
    shown = [(position, entry.per_class[index]) for position, index in enumerate(order)]
    known = [(position, score, score.accuracy) for position, score in shown if score.accuracy is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label(candidate.title),
        "x": [position + shift for position, _, _ in known],
        "y": [accuracy for _, _, accuracy in known],
        "marker": {
            "color": colour(candidate.role),
            "symbol": _SYMBOLS.get(candidate.role, "cross"),
            "size": 11 if len(order) <= 20 else 8,
        },
        "text": [
            f"<b>{label(score.name)}</b> · {label(candidate.title)}<br>{fmt.percent(accuracy)} of "
            f"{fmt.count(score.samples)} samples"
            for _, score, accuracy in known
        ],
        "hoverinfo": "text",
        "cliponaxis": False,
    }


def _reads_better_as_rows(names: Sequence[str]) -> bool:
    """Whether names of classes are too many or too long to stand side by side."""
    return sum(min(len(name), MAX_LABEL) + 2 for name in names) > 60


def _class_layout(names: Sequence[str]) -> dict[str, Any]:
    """Classes from left to right, or from top to bottom where their names need the room."""
    rows = _reads_better_as_rows(names)
    along, across, edge = ("yaxis", "xaxis", "y") if rows else ("xaxis", "yaxis", "x")
    positions = [-position if rows else position for position in range(len(names))]
    layout = empty_layout(height=110 + 30 * len(names) if rows else 380)
    layout[along] |= names_axis(positions, [(name,) for name in names])
    layout[across] |= {"title": {"text": "accuracy"}, "tickformat": ".0%"}
    layout["shapes"] = [_separator(edge, (low + high) / 2) for low, high in itertools.pairwise(positions)]
    return layout


def _shown_in(metric: Metric) -> Callable[[float], str]:
    return fmt.percent if metric.is_share else fmt.significant


def _curve(data: ReportData, link: Link, quantity: str) -> dict[str, Any]:
    points = [epoch for epoch in link.curve if quantity in epoch.val]
    show = _shown_in(data.meaning(quantity))
    title = label(data.title_of(link.role))
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(points) <= 40 else "lines",
        "name": title,
        "x": [epoch.epoch + 1 for epoch in points],
        "y": [epoch.val[quantity] for epoch in points],
        "line": {"color": colour(link.role), "width": 2.2, "dash": _DASHES.get(link.role, "longdash")},
        "marker": {"color": colour(link.role), "size": 5, "symbol": _SYMBOLS.get(link.role, "cross")},
        "text": [f"<b>{title}</b> · epoch {epoch.epoch + 1}<br>{show(epoch.val[quantity])}" for epoch in points],
        "hoverinfo": "text",
    }


def empty_layout(*, height: int, legend: bool = True) -> dict[str, Any]:
    """Axes that do not trap a scrolling finger, and room for labels; colours come from the page's theme."""
    return {
        "height": height,
        "margin": {"l": 12, "r": 18, "t": 12, "b": 12},
        "hovermode": "closest",
        "dragmode": False,
        "showlegend": legend,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {"automargin": True, "fixedrange": True, "zeroline": False},
        "yaxis": {"automargin": True, "fixedrange": True, "zeroline": False},
    }


def names_axis(positions: Sequence[int], names: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """An axis of names, each of one or more lines."""
    return {
        "tickmode": "array",
        "tickvals": list(positions),
        "ticktext": ["<br>".join(label(line) for line in lines) for lines in names],
        "range": [min(positions) - 0.6, max(positions) + 0.6],
        "showgrid": False,
    }


def latency_axis(values_ms: Sequence[float]) -> dict[str, Any]:
    """An axis of milliseconds: linear from zero; logarithmic when the slowest takes over five times the fastest's."""
    low, high = min(values_ms), max(values_ms)
    if low <= 0 or high / low < 5:
        return {"type": "linear", "range": [0, high * 1.25]}
    room = math.log10(high / low)
    return {
        "type": "log",
        "range": [math.log10(low) - 0.06 * room, math.log10(high) + 0.22 * room],
        "tickmode": "array",
        "tickvals": (ticks := _log_ticks(low, high)),
        "ticktext": [f"{tick:g}" for tick in ticks],
    }


def magnitude_axis(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis of large numbers, written in short."""
    low, high = min(values), max(values)
    return {
        "type": "log",
        "tickmode": "array",
        "tickvals": (ticks := _log_ticks(low, high)),
        "ticktext": [fmt.magnitude(tick).replace(".00", "").replace(".0 ", " ") for tick in ticks],
    }


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 in every decade that the values touch."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [
        step * 10.0**decade for decade in decades for step in (1, 2, 5) if low / 2 <= step * 10.0**decade <= high * 2
    ]


def _separator(axis: str, at: float) -> dict[str, Any]:
    """A thin line across the plot, between two neighbours on `axis` (`x` or `y`)."""
    other = "y" if axis == "x" else "x"
    ends = {f"{axis}0": at, f"{axis}1": at, f"{other}ref": "paper", f"{other}0": 0, f"{other}1": 1}
    return {"type": "line", "layer": "below", "line": {"color": "rgba(128,128,128,0.22)", "width": 1}} | ends


def _classes_shown(measured: Sequence[tuple[Candidate, Accuracy]]) -> list[int]:
    """All classes in their order, or those where the candidates differ most when there are too many to read."""
    num_classes = min(len(entry.per_class) for _, entry in measured)
    if num_classes <= MAX_CLASSES_SHOWN:
        return list(range(num_classes))
    spreads = {}
    for index in range(num_classes):
        known = [value for _, entry in measured if (value := _class_accuracy(entry, index)) is not None]
        spreads[index] = max(known) - min(known) if known else 0.0
    return sorted(sorted(spreads, key=lambda index: -spreads[index])[:MAX_CLASSES_SHOWN])


def _class_accuracy(entry: Accuracy, index: int) -> float | None:
    return entry.per_class[index].score if index < len(entry.per_class) else None


def _deployed(candidate: Candidate) -> Accuracy | None:
    return candidate.accuracy_on(deployed_runtime(candidate)) if candidate.accuracy else None


def _block_medians(timing: Timing) -> dict[int, float]:
    if not timing.blocks:
        return {}
    samples, blocks = np.asarray(timing.samples_ms), np.asarray(timing.blocks)
    return {int(block): float(np.median(samples[blocks == block])) for block in np.unique(blocks)}

"""What each link of the chain gave and cost, on the runtime and under the conditions that the student is judged by.

A reader who wants to know which link to drop reads down this table: each row is held against the row above it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compressor.measure import ruin
from compressor.measure.record import Accuracy, Candidate, Speedup, Timing
from compressor.measure.statistics import paired_speedup
from compressor.report import format as fmt
from compressor.report.facts import Link, ReportData, payload_of
from compressor.report.figures import Figure, colour, empty_layout, label, names_axis, ticks
from compressor.report.headline import difference
from compressor.report.tables import Table
from compressor.scores import Metric

_NO_LINKS = ("control",)


@dataclass(frozen=True)
class Step:
    """One model of the chain against the one before it.

    Attributes:
        candidate: The model.
        accuracy: Its answers on the deployed runtime, or in PyTorch where it has no other form.
        timing: Its latency there.
        size: Bytes of the form that the runtime loads.
        faster: Than the one before, with its interval, where both were timed beside each other.
        change: Of the metric, to the one before, in its own unit (a share in 0–1).
        smaller: Size of the one before over this one's.
        change_is_real: Whether the change of the metric is more than chance.
    """

    candidate: Candidate
    accuracy: Accuracy | None
    timing: Timing | None
    size: int | None
    faster: Speedup | None = None
    change: float | None = None
    smaller: float | None = None
    change_is_real: bool = False


def steps(data: ReportData) -> tuple[Step, ...]:
    """The chain from the teacher to the student, each model against the one before it; empty without both."""
    runtime, profile = data.headline.runtime, data.headline.profile
    chain = [candidate for candidate in data.candidates if candidate.role not in _NO_LINKS]
    if data.compared or runtime is None or len(chain) < 2:
        return ()
    found: list[Step] = []
    for candidate in chain:
        timing = data.timing(candidate.role, runtime, profile) if profile else None
        judged = candidate.accuracy_on(runtime) or (candidate.accuracy[0] if candidate.accuracy else None)
        here = Step(candidate, judged, timing, candidate.size_bytes.get(payload_of(runtime)))
        found.append(_against(here, found[-1], data.primary) if found else here)
    return tuple(found)


def table(data: ReportData) -> Table:
    """One row for each model of the chain: what it is, and what its link gave and cost."""
    chain = steps(data)
    limit = _limit(data)
    columns = ("Model", "p50", "Faster than the row above", "Size", "Smaller", data.primary.title, "Change", "Verdict")
    return Table(
        caption="What each link gave and cost",
        columns=columns,
        rows=tuple(
            (
                step.candidate.title,
                fmt.milliseconds(step.timing.p50_ms if step.timing else None),
                _ratio(step.faster),
                fmt.size(step.size),
                fmt.times(step.smaller) if step.smaller else fmt.ABSENT,
                fmt.measured(data.primary, step.accuracy.metrics.get(data.metric) if step.accuracy else None),
                fmt.change(data.primary, step.change),
                _verdict(step, metric=data.primary, limit=limit) if number else "where it begins",
            )
            for number, step in enumerate(chain)
        ),
        numeric=frozenset(range(1, 7)),
        roles=tuple(step.candidate.role for step in chain),
    )


def waterfall(data: ReportData) -> Figure | None:
    """What each link takes off the latency: bars that hang where the one before ended."""
    chain = [step for step in steps(data) if step.timing is not None]
    if len(chain) < 3:
        return None  # two bars say what the first screen says
    names = [step.candidate.title for step in chain]
    times = [step.timing.p50_ms for step in chain if step.timing is not None]
    bars: list[dict[str, Any]] = []
    for number, (step, now) in enumerate(zip(chain, times, strict=True)):
        before = times[number - 1] if number else 0.0
        low, high = min(before, now), max(before, now)
        words = fmt.milliseconds(now) if not number else f"{fmt.milliseconds(before)} → {fmt.milliseconds(now)}"
        change = "" if step.change is None else f", {fmt.change(data.primary, step.change)}"
        bars.append({"base": low, "height": high - low, "tint": colour(step.candidate.role), "words": words + change})
    trace = {
        "type": "bar",
        "x": list(range(len(bars))),
        "y": [bar["height"] for bar in bars],
        "base": [bar["base"] for bar in bars],
        "marker": {"color": [bar["tint"] for bar in bars]},
        "text": [f"<b>{label(name)}</b><br>{bar['words']}" for name, bar in zip(names, bars, strict=True)],
        "textposition": "none",
        "hoverinfo": "text",
        "width": 0.62,
    }
    levels = [
        {"type": "line", "x0": number - 0.31, "x1": number + 1.31, "y0": now, "y1": now}
        | {"line": {"color": "rgba(128,128,128,0.7)", "width": 1, "dash": "dot"}}
        for number, now in enumerate(times[:-1])
    ]
    written = {
        "type": "scatter",
        "mode": "text",
        "x": list(range(len(bars))),
        "y": [bar["base"] + bar["height"] for bar in bars],
        "text": [fmt.milliseconds(now) for now in times],
        "textposition": "top center",
        "hoverinfo": "skip",
    }
    layout = empty_layout(height=380, legend=False)
    layout["shapes"] = levels
    layout["xaxis"] |= names_axis(list(range(len(bars))), [(name,) for name in names])
    layout["yaxis"] |= {"title": {"text": "p50 latency (ms)"}, "range": [0, 1.15 * max(times)]}
    what = fmt.called(data.primary)
    return Figure(
        name="waterfall",
        title="What each link takes off",
        caption="Each bar hangs from the latency before its link to the one after it; hover for what it cost in "
        f"{what}.",
        traces=(trace, written),
        layout=layout,
        columns=("Model", "p50", f"Change of {what}"),
        rows=tuple(
            (step.candidate.title, fmt.milliseconds(now), fmt.change(data.primary, step.change))
            for step, now in zip(chain, times, strict=True)
        ),
    )


def sensitivity(data: ReportData) -> Figure | None:
    """How much accuracy each group of channels costs when it alone is cut, before any recovery."""
    link = next((link for link in data.links if (link.pruning or {}).get("sensitivity")), None)
    if link is None or link.pruning is None:
        return None
    groups = link.pruning["sensitivity"]
    positions = list(range(len(groups)))[::-1]
    shares = sorted({_share(kept, group["width"]) for group in groups for kept, _ in group["scores"]}, reverse=True)
    shades = dict(zip(shares, np.linspace(0.35, 1.0, max(1, len(shares))), strict=True))
    traces = tuple(
        {
            "type": "scatter",
            "mode": "markers",
            "name": f"{share:.0%} kept",
            "x": [
                score for group in groups for kept, score in group["scores"] if _share(kept, group["width"]) == share
            ],
            "y": [
                position
                for position, group in zip(positions, groups, strict=True)
                for kept, _ in group["scores"]
                if _share(kept, group["width"]) == share
            ],
            "marker": {"color": colour("student"), "opacity": float(shades[share]), "size": 8},
            "hovertemplate": f"%{{x:{'.2%' if data.primary.is_share else '.4g'}}}<extra>"
            + f"{share:.0%} kept"
            + "</extra>",
        }
        for share in shares
    )
    far = "left" if data.primary.larger_is_better else "right"
    drawn = empty_layout(height=90 + 22 * len(groups))
    drawn["xaxis"] |= {"title": {"text": f"validation {data.metric}, this group cut alone"}} | ticks(
        data.primary, ".0%"
    )
    drawn["yaxis"] |= names_axis(positions, [(label(group["group"]),) for group in groups])
    return Figure(
        name="pruning-sensitivity",
        title="How much each layer can lose",
        caption=f"Each row is one group of channels, cut alone and not recovered; groups far to the {far} matter most.",
        traces=traces,
        layout=drawn,
        columns=("Group", "Channels", *(f"{share:.0%} kept" for share in shares)),
        rows=tuple(
            (
                group["group"],
                fmt.count(group["width"]),
                *(_score_at(group, share, data.primary) for share in shares),
            )
            for group in groups
        ),
    )


def widths(data: ReportData) -> Table:
    """Channels of each layer before and after the cut."""
    link = next((link for link in data.links if link.pruning), None)
    cut = [] if link is None or link.pruning is None else link.pruning["widths"]
    return Table(
        "Layers before and after pruning",
        ("Layer", "Kind", "Before", "After", "Kept"),
        tuple(
            (
                entry["layer"],
                entry["kind"],
                fmt.count(entry["before"]),
                fmt.count(entry["after"]),
                f"{entry['after'] / entry['before']:.0%}",
            )
            for entry in cut
        ),
        frozenset({2, 3, 4}),
    )


def spared(data: ReportData) -> Table:
    """Layers that were not cut, and why."""
    link: Link | None = next((link for link in data.links if link.pruning), None)
    why = {} if link is None or link.pruning is None else link.pruning["spared"]
    return Table("Layers that were not cut", ("Layer", "Why"), tuple(why.items()))


def quantized_layers(data: ReportData) -> Table:
    """Each layer of the quantized model: what int8 saves there, what it harms, and whether it stayed in float."""
    told = _quantization(data)
    return Table(
        "Layers of the quantized model" + ("" if _ships(data) else ", which does not ship"),
        ("Layer", "Operator", "Kept in float", "Saves", "Harm (fall of the error in float)"),
        tuple(
            (
                layer["layer"],
                layer["op"],
                "yes" if layer["float"] else "no",
                fmt.milliseconds(layer.get("gain_ms")),
                fmt.anything(layer.get("harm")) if layer.get("harm") is not None else fmt.ABSENT,
            )
            for layer in told.get("layers", ())
        ),
        frozenset({3, 4}),
    )


def quantization(data: ReportData) -> Table:
    """For which CPU the model was quantized, on which one its accuracy was checked, and how to check it on another."""
    told = _quantization(data)
    if not told:
        return Table("Quantization", ("Property", "Value"), ())
    target = told["target"]
    tried = "" if _ships(data) else " (tried; what ships is the float model, the decisions say why)"
    types = f"{target['activations']} activations, {target['weights']} weights"
    rows = (
        ("Method", told["method"] + tried),
        ("Made for", f"{target['name']}: {types}{' in 7 bits' if target['reduce_range'] else ''}"),
        ("Why", target["reason"]),
        (
            "Accuracy checked on",
            f"{told['checked_on_cpu']} ({', '.join(told['checked_on_isa']) or 'unknown features'})",
        ),
        ("Check it on another CPU", "there: compress evaluate MODEL.onnx --data DATA"),
        ("Calibrated with", f"{told['calibration_samples']} training samples"),
        *((("Drop judged on", told["drop_judged_on"]),) if "drop_judged_on" in told else ()),
        *((("Kept for", "its size: no gain in speed was shown"),) if told.get("kept_for") == "size" else ()),
    )
    return Table("Quantization", ("Property", "Value"), rows)


def _ships(data: ReportData) -> bool:
    return bool(_quantization(data).get("ships", True))


def _quantization(data: ReportData) -> Mapping[str, Any]:
    return next((link.quantization for link in data.links if link.quantization), {})


def _against(step: Step, before: Step, metric: Metric) -> Step:
    faster = None
    if step.timing and before.timing and step.timing.samples_ms and before.timing.samples_ms:
        starts = min(before.timing.starts, step.timing.starts)
        found = paired_speedup(_blocks(before.timing), _blocks(step.timing), starts=starts)
        low, high = (found.low, found.high) if starts > 1 else (None, None)
        faster = Speedup(found.ratio, low, high, before.candidate.role)
    change = difference(step.accuracy, before.accuracy, metric, before.candidate.role) if step.accuracy else None
    smaller = before.size / step.size if before.size and step.size else None
    is_real = change is not None and change.within_noise is False
    return Step(
        step.candidate,
        step.accuracy,
        step.timing,
        step.size,
        faster,
        change.value if change else None,
        smaller,
        is_real,
    )


def _blocks(timing: Timing) -> list[np.ndarray]:
    samples, numbers = np.asarray(timing.samples_ms), np.asarray(timing.blocks)
    return [samples[numbers == number] for number in np.unique(numbers)]


def _limit(data: ReportData) -> float:
    """The most of the metric that a link may cost: what is stated; ten points of a share, of another unit nobody knows."""
    stated = _stated_drop(data)
    return ruin.limit(stated) if data.primary.is_share or stated is not None else math.inf


def _stated_drop(data: ReportData) -> float | None:
    """The largest drop that any budget accepts: that of the measurements, of pruning or of quantization."""
    stated: list[Any] = [budget.limit for budget in data.budgets if budget.budget == "max_drop"]
    stated += [(link.settings.get("training") or {}).get("max_drop") for link in data.links]
    return max((float(limit) for limit in stated if limit is not None), default=None)


def _verdict(step: Step, *, metric: Metric, limit: float) -> str:
    """Whether the link paid in time, size or accuracy, in a word or two; none does that costs more than `limit`."""
    drop = 0.0 if step.change is None else metric.drop(0.0, step.change)
    if step.change_is_real and drop > limit:
        return f"costs {f'{drop:.1f} points' if metric.is_share else metric.shown_drop(drop)}: drop this link"
    if step.faster is None and step.smaller is None:
        return "not compared with the row above"
    if step.faster is not None and step.faster.conclusive and step.faster.ratio < 1:
        return "slower: drop this link" if (step.smaller or 1) <= 1 else "smaller, but slower"
    gains = []
    if step.faster is not None and step.faster.conclusive:
        gains.append("faster")
    if step.smaller is not None and step.smaller > 1.02:
        gains.append("smaller")
    if not gains and step.faster is not None and step.faster.low is None:
        return "not told by one start"
    gained = metric.gain(step.change or 0.0) if step.change_is_real else 0.0
    if gained > 0:
        gains.append("more accurate")
    return " and ".join(gains) + (", but less accurate" if gained < 0 else "") if gains else "no gain: drop this link"


def _ratio(speedup: Speedup | None) -> str:
    return fmt.ABSENT if speedup is None else fmt.ratio(speedup.ratio, low=speedup.low, high=speedup.high)


def _share(kept: int, width: int) -> float:
    """Share of the channels kept, to the quarter that was meant."""
    return round(4 * kept / width) / 4


def _score_at(group: dict[str, object], share: float, metric: Metric) -> str:
    scores = group["scores"]
    assert isinstance(scores, list | tuple)
    width = group["width"]
    assert isinstance(width, int)
    return next((fmt.measured(metric, score) for kept, score in scores if _share(kept, width) == share), fmt.ABSENT)

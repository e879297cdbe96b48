"""Where the time goes: throughput against latency, operator by operator, what disturbed the clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from compressor.measure.record import OperatorTimes
from compressor.report import commands
from compressor.report import format as fmt
from compressor.report.facts import ReportData, payload_of, runtime_title
from compressor.report.figures import Figure, colour, empty_layout, label, latency_axis, magnitude_axis, names_axis
from compressor.report.tables import Table

_KINDS_SHOWN = 7
_NODES_SHOWN = 25
# Told apart by people who see fewer colours (Okabe & Ito), lightest last.
_KIND_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b8a200", "#9aa5b1")
_DASHES = ("solid", "dash", "dot", "dashdot")


def throughput(data: ReportData, profile: str) -> Figure | None:
    """Samples per second over latency, for growing batches: up and to the left is better."""
    points = [point for point in data.curves if point.profile == profile]
    if not points:
        return None
    threads = list(dict.fromkeys(point.threads for point in points))
    several = len({point.runtime for point in points}) > 1
    traces = []
    for role, runtime, number in dict.fromkeys((point.role, point.runtime, point.threads) for point in points):
        own = [point for point in points if (point.role, point.runtime, point.threads) == (role, runtime, number)]
        own.sort(key=lambda point: point.batch)
        title = label(data.title_of(role)) + (f" · {label(runtime_title(runtime))}" if several else "")
        words = f"{number} thread{'' if number == 1 else 's'}"
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"{title}, {words}",
                "x": [point.p50_ms for point in own],
                "y": [point.throughput_per_s for point in own],
                "line": {"color": colour(role), "width": 2, "dash": _DASHES[threads.index(number) % len(_DASHES)]},
                "marker": {"color": colour(role), "size": 8},
                "text": [
                    f"<b>{title}</b> · {words}, batch {point.batch}<br>{fmt.magnitude(point.throughput_per_s)} samples/s, "
                    f"p50 {fmt.milliseconds(point.p50_ms)}, p90 {fmt.milliseconds(point.p90_ms)}"
                    for point in own
                ],
                "hoverinfo": "text",
            }
        )
    layout = empty_layout(height=400)
    layout["xaxis"] |= latency_axis([point.p50_ms for point in points]) | {
        "title": {"text": "p50 latency of a batch (ms)"}
    }
    layout["yaxis"] |= magnitude_axis([point.throughput_per_s for point in points]) | {
        "title": {"text": "samples per second"}
    }
    return Figure(
        name=f"throughput-{data.profiles.index(profile) if profile in data.profiles else 0}",
        title=f"Throughput against latency: {profile}",
        caption="Each line is one model with so many threads; along it the batch grows.",
        traces=tuple(traces),
        layout=layout,
        columns=("Model", "Runs on", "Threads", "Batch", "p50", "p90", "Samples per s"),
        rows=tuple(
            (
                data.title_of(point.role),
                runtime_title(point.runtime),
                str(point.threads),
                str(point.batch),
                fmt.milliseconds(point.p50_ms),
                fmt.milliseconds(point.p90_ms),
                fmt.magnitude(point.throughput_per_s),
            )
            for point in points
        ),
    )


def operators(data: ReportData) -> Figure | None:
    """What kinds of operator each model spends an inference on."""
    shown = [each for each in data.operators if each.operators and each.total_ms > 0]
    if not shown:
        return None
    totals = [_by_kind(each) for each in shown]
    overall: dict[str, float] = defaultdict(float)
    for each, kinds in zip(shown, totals, strict=True):
        for kind, ms in kinds.items():
            overall[kind] += ms / each.total_ms
    named = sorted(overall, key=lambda kind: -overall[kind])[:_KINDS_SHOWN]
    names = [(data.title_of(each.role), runtime_title(each.runtime)) for each in shown]
    positions = list(range(len(shown)))[::-1]
    traces = []
    for index, kind in enumerate([*named, "others"]):
        values = [kinds.get(kind, 0.0) if kind != "others" else _rest(kinds, named) for kinds in totals]
        if any(values):
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": label(kind),
                    "x": values,
                    "y": positions,
                    "marker": {"color": _KIND_COLOURS[index]},
                    "text": [
                        f"<b>{label(kind)}</b> · {label(name[0])}<br>{fmt.milliseconds(value)}, "
                        f"{fmt.percent(value / each.total_ms, digits=0)}"
                        for value, name, each in zip(values, names, shown, strict=True)
                    ],
                    "textposition": "none",
                    "hoverinfo": "text",
                    "width": 0.66,
                }
            )
    layout = empty_layout(height=130 + 46 * len(shown) + 20 * len(traces))  # on a phone each name has a line of its own
    layout["barmode"] = "stack"
    layout["xaxis"] |= {"title": {"text": "milliseconds of an inference"}}
    layout["yaxis"] |= names_axis(positions, names)
    return Figure(
        name="operators",
        title="Where the time goes",
        caption=(
            f"Under {shown[0].profile}, profiled apart from the timings: a profiler slows a model down, so look at the "
            "shares. PyTorch is profiled by kernel, ONNX Runtime by node."
        ),
        traces=tuple(traces),
        layout=layout,
        columns=("Model", "Operator", "Time", "Share"),
        rows=tuple(
            (" · ".join(name), kind, fmt.milliseconds(ms), fmt.percent(ms / each.total_ms))
            for name, each, kinds in zip(names, shown, totals, strict=True)
            for kind, ms in sorted(kinds.items(), key=lambda item: -item[1])
        ),
    )


def nodes(data: ReportData) -> Table:
    """The slowest nodes of the deployed student, and what ran them."""
    columns = ("Node", "Operator", "Ran on", "Time", "Share")
    own = [each for each in data.operators if each.role == "student" and payload_of(each.runtime) == "onnx"]
    if not own:
        return Table("Nodes of the deployed student", columns, ())
    listed = sorted(own[0].operators, key=lambda operator: -operator.ms)[:_NODES_SHOWN]
    rows = tuple(
        (each.name, each.op, each.provider, fmt.milliseconds(each.ms), fmt.percent(each.ms / own[0].total_ms))
        for each in listed
    )
    title = f"The slowest {len(rows)} of {len(own[0].operators)} nodes of the deployed student"
    return Table(title, columns, rows, frozenset({3, 4}))


def providers(data: ReportData) -> Table:
    """Which provider really ran how many nodes of each ONNX model."""
    rows = []
    roles = []
    for each in data.operators:
        if payload_of(each.runtime) == "onnx":
            counts: dict[str, int] = defaultdict(int)
            for operator in each.operators:
                counts[operator.provider] += 1
            told = ", ".join(f"{number} on {name}" for name, number in counts.items())
            rows.append((data.title_of(each.role), runtime_title(each.runtime), told))
            roles.append(each.role)
    return Table("What really ran the nodes", ("Model", "Runs on", "Nodes"), tuple(rows), roles=tuple(roles))


def interference(data: ReportData) -> Table:
    """Whether the blocks of each profile agree, and what else was at work."""
    rows = tuple(
        (
            each.profile,
            "calm" if each.calm else "restless",
            fmt.percent(each.spread, digits=1),
            fmt.percent(each.other_load, digits=1),
            fmt.percent(each.stolen, digits=1),
            fmt.ABSENT if each.frequency_mhz is None else " → ".join(f"{mhz:.0f} MHz" for mhz in each.frequency_mhz),
            str(each.attempts),
        )
        for each in data.interference
    )
    columns = ("Profile", "Blocks", "Spread of their medians", "Other work", "Stolen by the host", "Clock", "Attempts")
    return Table("What disturbed the clock", columns, rows, frozenset({2, 3, 4, 6}))


def unrest(data: ReportData) -> str:
    """A sentence of warning when latencies are not to be trusted; empty when they are."""
    restless = [each for each in data.interference if not each.calm]
    if not restless:
        return ""
    worst = max(restless, key=lambda each: each.spread)
    load = (
        "" if worst.other_load is None else f"; other work took {fmt.percent(worst.other_load, digits=0)} of the cores"
    )
    return (
        f"The machine was restless under {', '.join(each.profile for each in restless)}: medians of blocks lie "
        f"{fmt.percent(worst.spread, digits=0)} apart after {worst.attempts} attempts{load}. Latencies there may be off "
        f"by as much; speed-ups are ratios within a block and suffer less.{_again(data)}"
    )


def _again(data: ReportData) -> str:
    command = commands.command_of(data, "latency")
    return f" On a quiet machine: {command}." if command else ""


def memory(data: ReportData) -> Table:
    """What each process occupied, how long the first answer took, and what an inference costs in energy."""
    columns = ("Model", "Runs on", "Profile", "Load", "First answer", "Library alone", "In use", "Peak", "Energy")
    rows = tuple(
        (
            data.title_of(each.role),
            runtime_title(each.runtime),
            each.profile,
            fmt.milliseconds(each.load_ms),
            fmt.milliseconds(each.first_ms),
            fmt.megabytes(each.library_memory_mb),
            fmt.megabytes(each.memory_mb),
            fmt.megabytes(each.peak_memory_mb),
            fmt.ABSENT if each.millijoules is None else f"{fmt.significant(each.millijoules)} mJ",
        )
        for each in data.timings
    )
    caption = "Cold start and memory of each model's process" + (
        f"; energy of the whole package, counted by {data.energy_source}" if data.energy_source else ""
    )
    return Table(caption, columns, rows, frozenset(range(3, 9)), tuple(each.role for each in data.timings))


def _by_kind(times: OperatorTimes) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for operator in times.operators:
        found[operator.op] += operator.ms
    return dict(found)


def _rest(kinds: Mapping[str, float], named: list[str]) -> float:
    return sum(ms for kind, ms in kinds.items() if kind not in named)

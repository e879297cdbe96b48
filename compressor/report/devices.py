"""This machine and every other that a pack was carried to, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from compressor.measure.record import Accuracy, Interference, Timing
from compressor.report import format as fmt
from compressor.report.facts import ReportData, runtime_title
from compressor.report.figures import Figure, colour, empty_layout, label, latency_axis, names_axis
from compressor.report.tables import Table

HERE = "this machine"


def devices(data: ReportData) -> Table:
    """The latency and the answers of each model on each device."""
    if not data.devices:
        return Table("Devices", ("Device",), ())
    columns = (
        "Device",
        "CPU",
        "Profile",
        "Threads",
        "Batch",
        "Model",
        "p50",
        "Speed-up",
        "Peak memory",
        data.primary.title,
        "Same answers",
        "Blocks",
    )
    rows = [(HERE, _cpu(data.machine), *row) for row in _rows(data, _here(data), data.interference)]
    roles = [each.role for each in _here(data)]
    for device in data.devices:
        judged = _rows(data, device.timings, device.interference, there=(device.accuracy, device.parity))
        rows += [(device.name, _cpu(device.machine), *row) for row in judged]
        roles += [each.role for each in device.timings]
    numeric = frozenset({3, 4, *range(6, 11)})
    return Table("The same models on other devices", columns, tuple(rows), numeric, tuple(roles))


def device_latencies(data: ReportData) -> Figure | None:
    """The p50 of each model on each device, under the first profile that a device has, where conditions are alike."""
    there = [each for device in data.devices for each in device.timings]
    profile = next((name for name in data.profiles if any(each.profile == name for each in there)), None)
    if profile is None:
        return None
    places = [(HERE, _here(data)), *((device.name, list(device.timings)) for device in data.devices)]
    timed = [(place, each) for place, timings in places for each in timings if each.profile == profile]
    first = timed[0][1]
    found = [(place, each) for place, each in timed if (each.threads, each.batch) == (first.threads, first.batch)]
    roles = list(dict.fromkeys(each.role for _, each in found))
    names = list(dict.fromkeys(place for place, _ in found))
    positions = {name: len(names) - 1 - index for index, name in enumerate(names)}
    traces = tuple(
        {
            "type": "scatter",
            "mode": "markers",
            "name": label(data.title_of(role)),
            "x": [each.p50_ms for _, each in found if each.role == role],
            "y": [positions[place] for place, each in found if each.role == role],
            "marker": {"color": colour(role), "size": 13},
            "text": [
                f"<b>{label(place)}</b> · {label(data.title_of(role))}<br>p50 {fmt.milliseconds(each.p50_ms)}"
                for place, each in found
                if each.role == role
            ],
            "hoverinfo": "text",
        }
        for role in roles
    )
    layout = empty_layout(height=130 + 46 * len(names))
    layout["xaxis"] |= latency_axis([each.p50_ms for _, each in found]) | {
        "title": {"text": f"p50, {label(profile)} (ms)"}
    }
    layout["yaxis"] |= names_axis(list(positions.values()), [(name,) for name in names])
    runtimes = ", ".join(dict.fromkeys(runtime_title(each.runtime) for _, each in found))
    left_out = "" if len(found) == len(timed) else " Timings under other conditions stand in the table alone."
    return Figure(
        name="devices",
        title="Latency on each device",
        caption=f"Under {profile} ({fmt.conditions(first.threads, first.batch, first.sizes)}), {runtimes}; "
        f"to the left is faster.{left_out}",
        traces=traces,
        layout=layout,
        columns=("Device", "Model", "p50"),
        rows=tuple((place, data.title_of(each.role), fmt.milliseconds(each.p50_ms)) for place, each in found),
    )


def _here(data: ReportData) -> list[Timing]:
    """This machine's timings on the runtimes that the devices have."""
    runtimes = {each.runtime for device in data.devices for each in device.timings}
    return [each for each in data.timings if each.runtime in runtimes]


def _rows(
    data: ReportData,
    timings: Sequence[Timing],
    interference: Sequence[Interference],
    *,
    there: tuple[Mapping[str, Accuracy], Mapping[str, Mapping[str, Any]]] | None = None,
) -> Iterator[tuple[str, ...]]:
    """A row for each timing; `there`: accuracy and parity by role, on the samples that were carried to a device."""
    calm = {each.profile: each.calm for each in interference}
    for each in timings:
        judged = _judged_here(data, each) if there is None else _judged_there(data, *there, role=each.role)
        blocks = fmt.ABSENT if each.profile not in calm else "calm" if calm[each.profile] else "restless"
        yield (
            each.profile,
            "all" if each.threads == 0 else str(each.threads),
            str(each.batch),
            data.title_of(each.role),
            fmt.milliseconds(each.p50_ms),
            _speedup(each, timings),
            fmt.megabytes(each.peak_memory_mb),
            *judged,
            blocks,
        )


def _speedup(timing: Timing, beside: Sequence[Timing]) -> str:
    """Of one model; the base is the one that others are held against, if any was timed beside it."""
    if timing.speedup is not None:
        return fmt.ratio(timing.speedup.ratio, low=timing.speedup.low, high=timing.speedup.high)
    is_base = any(each.speedup is not None and each.speedup.against == timing.role for each in beside)
    return "1× (base)" if is_base else fmt.ABSENT


def _judged_here(data: ReportData, timing: Timing) -> tuple[str, str]:
    candidate = data.candidate(timing.role)
    entry = candidate.accuracy_on(timing.runtime) if candidate else None
    return fmt.measured(data.primary, entry.metrics.get(data.metric) if entry else None), fmt.ABSENT


def _judged_there(
    data: ReportData, accuracy: Mapping[str, Accuracy], parity: Mapping[str, Mapping[str, Any]], *, role: str
) -> tuple[str, str]:
    entry = accuracy.get(role)
    value = entry.metrics.get(data.metric) if entry else None
    judged = f"{fmt.measured(data.primary, value)} of {fmt.count(entry.samples)}" if entry else fmt.ABSENT
    return judged, fmt.percent(parity.get(role, {}).get("agreement"))


def _cpu(machine: Mapping[str, Any]) -> str:
    isa = ", ".join(machine.get("isa", ()))
    return f"{machine.get('cpu', fmt.ABSENT)} ({machine.get('architecture', '')}{'; ' + isa if isa else ''})"

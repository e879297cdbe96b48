"""Several runs side by side: what each reached, what differs between their settings, and what cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compressor.report import format as fmt
from compressor.report import gate
from compressor.report.facts import ReportData, runtime_title
from compressor.report.markdown import grid, text
from compressor.report.tables import Table, flat

_TITLE = "## Runs side by side"
_SETTINGS_SHOWN = 40
_NO_SETTINGS = ("data.source", "model.model", "identity")  # places, which differ between machines and say nothing


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        results: A row for each run.
        settings: Those that differ, a column for each run.
        caveats: Why some of the numbers may not be held against one another.
        numbers: By run, what `--fail-if` can name.
        differing: Every setting that differs, by its name and then by run; `settings` shows the first of them.
    """

    results: Table
    settings: Table
    caveats: tuple[str, ...]
    numbers: Mapping[str, Mapping[str, float]]
    differing: Mapping[str, Mapping[str, str]]


def compare(reports: Mapping[str, ReportData]) -> Comparison:
    """Put reports side by side, by the names the user gave them."""
    judged = ("Run", next(iter(reports.values())).primary.title, "95 %", "To the base", "To the control")
    timed = ("p50", "Measured as", "Speed-up", "Size", "Smaller", "Budgets", "CPU")
    columns = (*judged, *timed)
    differing = _differing(reports)
    return Comparison(
        results=Table(
            "Runs side by side",
            columns,
            tuple(_row(name, data) for name, data in reports.items()),
            frozenset({1, 2, 3, 4, 5, 7, 8, 9}),
        ),
        settings=_settings(tuple(reports), differing),
        caveats=_caveats(reports),
        numbers={name: gate.values(data) for name, data in reports.items()},
        differing=differing,
    )


def as_markdown(comparison: Comparison) -> str:
    """The comparison for a pull request, ending in a newline."""
    blocks = [_TITLE, grid(comparison.results)]
    blocks += [f"> ⚠️ {text(caveat)}" for caveat in comparison.caveats]
    if comparison.settings.rows:
        blocks.append(f"### {comparison.settings.caption}\n\n{grid(comparison.settings)}")
    return "\n\n".join(blocks) + "\n"


def as_json(comparison: Comparison) -> str:
    """The comparison for programs, ending in a newline."""
    content = {
        "runs": comparison.numbers,
        "settings": comparison.differing,
        "caveats": comparison.caveats,
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def is_one(file: Path) -> bool:
    """Whether a file is a comparison that was written here, in either form."""
    try:
        content = file.read_text(encoding="utf-8")
        if content.startswith(f"{_TITLE}\n"):
            return True
        found = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() == {"runs", "settings", "caveats"}


def _row(name: str, data: ReportData) -> tuple[str, ...]:
    head = data.headline
    student = data.candidate("student")
    entry = student.accuracy_on(head.runtime) if student and head.runtime else None
    faster = head.speedup
    other_runtime = f" to {head.speedup_against}" if head.speedup_crosses_runtimes else ""
    return (
        name,
        fmt.measured(data.primary, head.student),
        fmt.measured_range(data.primary, entry.interval if entry else None),
        fmt.change(data.primary, head.change),
        fmt.change(data.primary, head.gain),
        fmt.milliseconds(head.latency_ms),
        f"{head.profile or fmt.ABSENT}, {runtime_title(head.runtime) if head.runtime else fmt.ABSENT}",
        fmt.ABSENT if faster is None else fmt.ratio(faster.ratio, low=faster.low, high=faster.high) + other_runtime,
        fmt.size(head.student_size),
        fmt.times(head.size_ratio),
        head.verdict,
        str(data.machine.get("cpu", fmt.ABSENT)),
    )


def _caveats(reports: Mapping[str, ReportData]) -> tuple[str, ...]:
    several = list(reports.values())
    found = []
    if nameless := [name for name, data in reports.items() if not data.machine.get("cpu")]:
        found.append(f"No machine is recorded for {', '.join(nameless)}: latencies may come from different ones.")
    elif len({(data.machine["cpu"], data.machine.get("cores")) for data in several}) > 1:
        found.append("Measured on different machines: latencies and speed-ups cannot be held against one another.")
    elif len({data.versions.get("onnxruntime") for data in several}) > 1:
        found.append("Measured with different versions of ONNX Runtime: latencies differ by that as well.")
    if len({(data.headline.runtime, data.headline.profile) for data in several}) > 1:
        found.append("Measured on different runtimes or under different profiles: latencies are not of the same thing.")
    if len({data.metric for data in several}) > 1:
        found.append("Judged by different metrics: they cannot be held against one another.")
    if len(_judged_on(several)) > 1:
        found.append("Judged on different data: accuracies cannot be held against one another.")
    elif any(_data_of(data) is None for data in several):
        found.append("No run records its data: accuracies may be of different samples.")
    if len({data.headline.samples for data in several}) > 1:
        counts = ", ".join(f"{name} {fmt.count(data.headline.samples)}" for name, data in reports.items())
        found.append(f"Judged on different numbers of test samples ({counts}): accuracies are not of the same ones.")
    bases = {name: data.headline.base_words for name, data in reports.items()}
    if len(set(bases.values())) > 1:
        told = ", ".join(f"{name} {words}" for name, words in bases.items())
        found.append(f"Held against different models ({told}): what is “to the base” cannot be compared.")
    restless = [name for name, data in reports.items() if any(not each.calm for each in data.interference)]
    if restless:
        found.append(f"The machine was restless while {', '.join(restless)} was measured.")
    return tuple(found)


def _judged_on(several: list[ReportData]) -> set[str | None]:
    """What stands for the test samples of each; for those of a whole data set where some do not record them."""
    of_tests = {_data_of(data, "test_fingerprint") or None for data in several}
    return {_data_of(data) for data in several} if None in of_tests else of_tests


def _data_of(data: ReportData, what: str = "fingerprint") -> str | None:
    return next((link.data.get(what) for link in reversed(data.links) if link.stage == "bench"), None)


def _differing(reports: Mapping[str, ReportData]) -> dict[str, dict[str, str]]:
    """Settings of stages that not all runs have alike; compared as recorded, not as rounded for people."""
    by_run: dict[str, dict[str, object]] = {
        name: {
            f"{link.stage} {link.role}: {setting}": value
            for link in data.links
            for setting, value in flat(link.settings)
            if not setting.startswith(_NO_SETTINGS) and value is not None
        }
        for name, data in reports.items()
    }
    found = {}
    for setting in dict.fromkeys(setting for settings in by_run.values() for setting in settings):
        exact = {name: repr(settings[setting]) if setting in settings else "" for name, settings in by_run.items()}
        if len(set(exact.values())) > 1:
            said = {name: fmt.anything(settings.get(setting)) for name, settings in by_run.items()}
            rounded_away = len(set(said.values())) < len(set(exact.values()))
            found[setting] = {name: text or fmt.ABSENT for name, text in exact.items()} if rounded_away else said
    return found


def _settings(runs: tuple[str, ...], differing: Mapping[str, Mapping[str, str]]) -> Table:
    rows = tuple((setting, *(values[name] for name in runs)) for setting, values in differing.items())
    more = f", the first {_SETTINGS_SHOWN} of {len(rows)}" if len(rows) > _SETTINGS_SHOWN else ""
    return Table(f"What differs{more}", ("Setting", *runs), rows[:_SETTINGS_SHOWN])

"""The command that makes a figure's numbers again."""

from __future__ import annotations

import shlex
from dataclasses import replace

from compressor.report.facts import ReportData
from compressor.report.figures import Figure


def with_commands(data: ReportData, figures: tuple[Figure, ...]) -> tuple[Figure, ...]:
    """Each figure with its command; figures of what was trained or cut come from the whole run."""
    return tuple(replace(figure, command=command_of(data, figure.name)) for figure in figures)


def command_of(data: ReportData, name: str) -> str:
    """What to type for the numbers of the figure called `name`; empty when the run's place is not known, or it is no run."""
    if not data.folder or data.compared:
        return ""
    run = shlex.quote(data.folder)
    if name.startswith(("training-", "pruning-")):
        return data.command or ""
    if name == "devices":
        return f"compress pack {run}, run.py there, compress report {run} --add device.json"
    return f"compress bench {run} --again"

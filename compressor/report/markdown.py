"""The report as Markdown for a pull request: the verdict, the tables that decide, and the way to run it again."""

from __future__ import annotations

import re

from compressor.plain_text import printable
from compressor.report import devices, links, quality, speed, tables
from compressor.report.facts import ReportData

_SIGNS = {"met": "✅", "missed": "❌", "none": "ℹ️"}


def render(data: ReportData) -> str:
    """The whole text, ending in a newline."""
    head = data.headline
    blocks = [
        f"## {text(data.run)}: {text(_models(data))}",
        text(head.sentence),
        f"{_SIGNS[head.verdict]} **{text(head.verdict_sentence)}** {text(head.gain_sentence)}".rstrip(),
        grid(links.table(data)) if len(links.steps(data)) > 2 else "",
        grid(tables.accuracy(data)),
        grid(tables.latency(data)),
        grid(tables.latency_by_size(data)),
        *(f"> ⚠️ {text(warning)}" for warning in (data.outdated, head.chance_sentence, speed.unrest(data)) if warning),
        _titled("Is the difference real?", quality.paired(data)),
        _titled("Other devices", devices.devices(data)),
        _titled("Budgets", tables.budgets(data)),
        _titled("What is not here", tables.missing(data)),
        _folded(tables.steps(data)),
        _folded(tables.taught(data)),
        _folded(links.widths(data)),
        _folded(links.quantization(data)),
        _folded(tables.decisions(data)),
        _folded(tables.parity(data)),
        _folded(quality.changed_decisions(data)),
        _folded(quality.calibration(data)),
        _folded(tables.conditions(data)),
        _folded(speed.memory(data)),
        _folded(speed.interference(data)),
        _reproduce(data),
    ]
    return printable("\n\n".join(block for block in blocks if block)) + "\n"


def _models(data: ReportData) -> str:
    if data.compared:
        return f"{data.called('student')} beside {data.called(data.base)}"
    return "teacher → student" if data.candidate("teacher") else "student"


def text(value: str) -> str:
    """User text that Markdown and HTML leave as it is, on one line."""
    value = printable(value)
    inert = re.sub(r"([\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(value.split()))
    inert = inert.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?<!\w)@(?=\w)", "&#64;", inert)  # or it would call somebody of that name


def grid(table: tables.Table) -> str:
    """A table in Markdown; nothing when it has no rows."""
    if not table.rows:
        return ""
    rules = ("---:" if index in table.numeric else "---" for index in range(len(table.columns)))
    lines = [table.columns, tuple(rules), *table.rows]
    return "\n".join(
        "| " + " | ".join(cell if number == 1 else text(cell) for cell in cells) + " |"
        for number, cells in enumerate(lines)
    )


def _titled(title: str, table: tables.Table) -> str:
    return f"### {title}\n\n{grid(table)}" if table.rows else ""


def _folded(table: tables.Table) -> str:
    if not table.rows:
        return ""
    return f"<details><summary>{text(table.caption)}</summary>\n\n{grid(table)}\n\n</details>"


def _reproduce(data: ReportData) -> str:
    made = f"Measurements `{data.key}`, seed {data.seed}"
    if data.command is None:
        return f"{made}; the run keeps no recipe, its settings are in `report.json`."
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", data.command)), default=0))
    return f"{made}. Again with:\n\n{fence}sh\n{data.command}\n{fence}"

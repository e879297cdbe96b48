"""The report as one HTML file that opens offline: figures, tables, styles and Plotly itself are inside.

All text is escaped by Jinja2; figures travel as JSON that cannot close its script element; a content security policy
lets only the two scripts written here run, by their hash, and lets the page load nothing.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from compressor import __version__, plain_json
from compressor.plain_text import printable
from compressor.report import devices, links, quality, speed, tables, words
from compressor.report import figures as drawing
from compressor.report import format as fmt
from compressor.report.commands import with_commands
from compressor.report.facts import Headline, ReportData
from compressor.report.headline import alike
from compressor.scores import Metric

_TEMPLATES = Path(__file__).parent / "templates"
# What JSON may hold and HTML or JavaScript would read as something else.
_UNSAFE_IN_SCRIPT: dict[str, str | int | None] = {
    character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"
}


@dataclass(frozen=True)
class Card:
    """One number of the first screen: what it is, the number, what it means, and whether it is good news."""

    title: str
    value: str
    detail: str
    mood: str = "plain"


def render(data: ReportData) -> str:
    """The whole page."""
    figures = with_commands(data, all_figures(data))
    plotly, script = Markup(get_plotlyjs()), Markup(_template_text("report.js"))
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            head=data.headline,
            cards=cards(data.headline, data.primary),
            figures=figures,
            figures_json=embedded_json({figure.name: _drawn(figure) for figure in figures}),
            chain=links.table(data),
            unrest=speed.unrest(data),
            paired=quality.paired(data),
            calibration=quality.calibration(data),
            changed=quality.changed_decisions(data),
            pictures=quality.gallery(data),
            devices=devices.devices(data),
            nodes=speed.nodes(data),
            providers=speed.providers(data),
            interference=speed.interference(data),
            memory=speed.memory(data),
            widths=links.widths(data),
            spared=links.spared(data),
            quantization=links.quantization(data),
            quantized_layers=links.quantized_layers(data),
            accuracy=tables.accuracy(data),
            latency=tables.latency(data),
            latency_by_size=tables.latency_by_size(data),
            budgets=tables.budgets(data),
            missing=tables.missing(data),
            steps=tables.steps(data),
            taught=tables.taught(data),
            words=words.used(data),
            decisions=tables.decisions(data),
            parity=tables.parity(data),
            input_contract=tables.input_contract(data),
            conditions=tables.conditions(data),
            machine=tables.machine(data),
            versions=tables.versions(data),
            provenance=tables.provenance(data),
            settings=tables.settings(data),
            version=__version__,
            plotly=plotly,
            script=script,
            style=Markup(_template_text("report.css")),
            script_hashes=" ".join(f"'sha256-{_digest(code)}'" for code in (plotly, script)),
        )
    )


def all_figures(data: ReportData) -> tuple[drawing.Figure, ...]:
    """Every figure that there are numbers for, in reading order."""
    first, *rest = drawing.figures(data) or (None,)
    drawn = [
        first,
        links.waterfall(data),
        *rest,
        *(speed.throughput(data, profile) for profile in dict.fromkeys(point.profile for point in data.curves)),
        speed.operators(data),
        devices.device_latencies(data),
        quality.class_changes(data),
        quality.reliability(data),
        links.sensitivity(data),
    ]
    return tuple(figure for figure in drawn if figure is not None)


def embedded_json(value: object) -> Markup:
    """JSON that is safe inside a script element, whatever its strings hold; NaN and infinities become null."""
    text = plain_json.text(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.translate(str.maketrans(_UNSAFE_IN_SCRIPT)))


def cards(head: Headline, metric: Metric) -> tuple[Card, ...]:
    """The numbers of the first screen; a number that was not measured has no card."""
    found = [
        _metric_card(head, metric),
        _speed_card(head),
        _size_card(head),
        _teacher_card(head, metric),
        _budget_card(head),
    ]
    return tuple(card for card in found if card is not None)


def _metric_card(head: Headline, metric: Metric) -> Card | None:
    if head.student is None:
        return None
    title = fmt.headed(fmt.called(metric))
    if head.change is None:
        return Card(title, fmt.measured(metric, head.student), "no teacher to compare with")
    noise = {True: ", within the noise", False: "", None: ", not tested"}[head.change_within_noise]
    is_better = metric.gain(head.change) > 0 and head.change_within_noise is False and not head.chance_sentence
    mood = "good" if is_better else "plain"
    against = f"{fmt.change(metric, head.change)} against {head.base_words}{noise}"
    return Card(title, fmt.measured(metric, head.student), against, mood)


def _speed_card(head: Headline) -> Card | None:
    if head.latency_ms is None:
        return None
    if head.speedup is None:
        return Card("Latency", fmt.milliseconds(head.latency_ms), f"p50, {head.profile}; nothing to compare with")
    mood = "plain" if not head.speedup.conclusive else "good" if head.speedup.ratio > 1 else "bad"
    low, high = head.speedup.low, head.speedup.high
    interval = "one start, so no interval"
    if low is not None and high is not None:
        interval = f"95 %: {fmt.significant(low)}–{fmt.significant(high)}"
    before = f"{fmt.milliseconds(head.teacher_latency_ms)} → " if head.teacher_latency_ms is not None else ""
    against = f"against {head.speedup_against}; " if head.speedup_crosses_runtimes else ""
    detail = f"{against}{interval}; p50 {before}{fmt.milliseconds(head.latency_ms)}, {head.profile}"
    return Card("Speed-up", fmt.times(head.speedup.ratio), detail, mood)


def _size_card(head: Headline) -> Card | None:
    if head.size_ratio is None or head.student_size is None or head.teacher_size is None:
        return Card("Size", fmt.size(head.student_size), "nothing to compare with") if head.student_size else None
    form = "ONNX" if head.size_payload == "onnx" else "PyTorch"
    if alike(head.teacher_size, head.teacher_size / head.size_ratio):
        return Card("Size", fmt.size(head.student_size), f"as large as before, {form}")
    smaller = head.size_ratio > 1
    return Card(
        "Smaller" if smaller else "Larger",
        fmt.times(head.size_ratio if smaller else 1 / head.size_ratio),
        f"{fmt.size(head.teacher_size)} → {fmt.size(head.teacher_size / head.size_ratio)}, {form}",
        "good" if smaller else "bad",
    )


def _teacher_card(head: Headline, metric: Metric) -> Card | None:
    if head.gain is None or head.base == "control":
        return None  # the first card says it already
    if not head.gain_told:
        why = {True: "within the noise", False: "at chance", None: "not tested"}[head.gain_within_noise]
        return Card("What the teacher gave", fmt.change(metric, head.gain), f"against the control: {why}")
    mood = "good" if metric.gain(head.gain) > 0 else "bad"
    return Card("What the teacher gave", fmt.change(metric, head.gain), "against the control, trained alone", mood)


def _budget_card(head: Headline) -> Card:
    moods = {"met": "good", "missed": "bad", "none": "plain"}
    values = {"met": "met", "missed": "missed", "none": "none stated"}
    detail = "set max_drop, max_latency_ms or max_size_mb" if head.verdict == "none" else head.verdict_sentence
    return Card("Budgets", values[head.verdict], detail, moods[head.verdict])


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["colour"] = drawing.colour
    return environment


def _shown(value: Any) -> Any:
    """What a placeholder gives: text of others without characters that would turn the order of what follows around."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _template_text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _drawn(figure: drawing.Figure) -> dict[str, Any]:
    layout = dict(figure.layout)
    if "title" in layout.get("yaxis", {}):  # or it would stand on the numbers of its axis
        layout["yaxis"] = layout["yaxis"] | {"title": layout["yaxis"]["title"] | {"standoff": 14}}
    return {"data": figure.traces, "layout": layout}


def _digest(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()

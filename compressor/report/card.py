"""A model card in the Hugging Face format, from what was measured: front matter in YAML, then Markdown.

Source of the format: the `model-index` of the Hub's model cards (metadata specification of the Hugging Face Hub).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from compressor.measure.record import Accuracy
from compressor.plain_text import printable
from compressor.report import devices, links, quality, speed, tables
from compressor.report import format as fmt
from compressor.report.facts import ReportData
from compressor.report.figures import Figure
from compressor.report.markdown import grid, text
from compressor.tensors import ATTENTION_MASK, Schema

_TAGS = {"distill": "knowledge-distillation", "prune": "pruned", "quantize": "quantized"}
_PIPELINE_TAGS = {
    ("classification", "pictures"): "image-classification",
    ("classification", "vectors"): "tabular-classification",
    ("regression", "vectors"): "tabular-regression",
}
_WORST_CLASSES = 5
_MOST_NUMBERS = 16  # written into a line of code


def render(data: ReportData) -> str:
    """The whole card, ending in a newline."""
    right = tables.right_within(data)
    blocks = [
        f"---\n{_front_matter(data)}---",
        f"# {text(data.run)}",
        text(data.headline.sentence),
        text(data.headline.gain_sentence),
        text(data.headline.chance_sentence),
        _intended(data),
        _use(data),
        "## How well it answers",
        text(right[:1].upper() + right[1:]),
        grid(tables.accuracy(data)),
        grid(quality.paired(data)),
        f"## How fast it is\n\n{_where_measured(data)}\n\n{grid(tables.latency(data))}",
        grid(devices.devices(data)),
        _limitations(data),
        f"## How it was made\n\n{grid(links.table(data)) or grid(tables.steps(data))}",
        grid(tables.taught(data)),
        _reproduce(data),
    ]
    return printable("\n\n".join(block for block in blocks if block)) + "\n"


def _front_matter(data: ReportData) -> str:
    entry = _deployed(data)
    tags = ["compress", *_link_tags(data)]
    lines = ["library_name: onnx", "tags:", *(f"- {tag}" for tag in tags)]
    if (tag := _pipeline_tag(data)) is not None:
        lines.append(f"pipeline_tag: {tag}")
    if entry is not None:
        lines += _model_index(data, entry)
    return "".join(f"{line}\n" for line in lines)


def _pipeline_tag(data: ReportData) -> str | None:
    """What Hugging Face calls the task, by what a sample is; pictures where no contract says."""
    contract = tables.contract_of(data)
    kind = "vectors" if contract is not None and len(contract.get("shape", ())) == 2 else "pictures"
    return _PIPELINE_TAGS.get((data.task, kind))


def _model_index(data: ReportData, entry: Accuracy) -> list[str]:
    name, kind = _dataset(data)
    lines = [
        "model-index:",
        f"- name: {_quoted(data.run)}",
        "  results:",
        "  - task:",
        f"      type: {_quoted(_pipeline_tag(data) or data.task)}",
        "    dataset:",
        f"      name: {_quoted(name)}",
        f"      type: {_quoted(kind)}",
        f"      split: {_quoted(entry.split)}",
        "    metrics:",
    ]
    for metric, value in entry.metrics.items():
        lines += [f"    - type: {_quoted(metric)}", f"      value: {_number(value)}"]
    return lines


def _dataset(data: ReportData) -> tuple[str, str]:
    """Name and format of the data; of a place on this machine only the last part, since a card is published."""
    source = next((str(link.data["source"]) for link in data.links if link.data.get("source")), "unknown")
    kind, _, place = source.partition(":")
    return PurePosixPath(place.replace("\\", "/")).name or kind, kind


def _intended(data: ReportData) -> str:
    name, _ = _dataset(data)
    names = ", ".join(data.classes)
    many = data.wording.purpose.format(count=len(data.classes), names=names) if data.classes else ""
    like = "it was trained on" if name == "unknown" else f"of {name}"
    has_teacher = data.candidate("teacher") and not data.compared
    large = ", where the teacher is too slow or too large" if has_teacher else ""
    said = f"{data.task.capitalize()}{many} of samples like those {like}{large}."
    return f"## Intended use\n\n{text(said)}"


def _use(data: ReportData) -> str:
    contract = tables.contract_of(data)
    if contract is None:
        return ""
    dtype = str(contract.get("dtype", "float32"))
    what = "pixels from 0 to 255" if dtype == "uint8" else f"numbers, {contract.get('range', '0-1')}"
    row, reading = data.wording.variable, data.wording.reading
    answer = text(reading.format(names=", ".join(data.classes))) if "{names}" in reading else reading
    return "\n".join(
        [
            "## How to use it",
            "",
            f"Input: {text(dtype)} {text(str(contract.get('layout', '')))}, {text(what)}. "
            f"Output: {text(data.wording.output)}.",
            "",
            "```python",
            "import numpy as np",
            "import onnxruntime",
            "",
            'session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])',
            *_batch(contract),
            f"({row},) = session.run(None, batch)",
            answer,
            "```",
        ]
    )


def _batch(contract: Mapping[str, Any]) -> list[str]:
    """The lines that make a batch of one sample, by the names of a model's inputs."""
    several = contract.get("inputs", ())
    if not several:
        shape = tuple(1 if axis == "batch" else axis for axis in contract.get("shape", ()))
        dtype = contract.get("dtype") if contract.get("dtype") in ("uint8", "float32", "float16") else "float32"
        made = [f"batch = np.zeros({shape!r}, dtype=np.{dtype})", *_normalised(contract)]
        return [*made, "batch = {session.get_inputs()[0].name: batch}"]
    specs = Schema.from_json(several)
    if ATTENTION_MASK in specs:
        tokens = ", ".join(f'"{name}": [read.{_OF_A_TEXT[name]}]' for name in specs.names if name in _OF_A_TEXT)
        return [
            "import tokenizers  # the file lies beside the model",
            "",
            'read = tokenizers.Tokenizer.from_file("tokenizer.json").encode("a text")',
            f"batch = {{name: np.array(rows, dtype=np.int64) for name, rows in {{{tokens}}}.items()}}",
        ]
    rows = [
        f"    {_literal(spec.name)}: np.zeros({(1, *(_ANY if isinstance(axis, str) else axis for axis in spec.shape))!r}, "
        f"dtype={_literal(spec.dtype)})," + (f"  # any {text(', '.join(spec.varying))}" if spec.varying else "")
        for spec in specs
    ]
    return ["batch = {", *rows, "}"]


_ANY = 16  # what an axis that varies has in an example
_OF_A_TEXT = {"input_ids": "ids", ATTENTION_MASK: "attention_mask", "token_type_ids": "type_ids"}


def _literal(name: str) -> str:
    """A string of Python that cannot end the code it stands in."""
    return json.dumps(name).replace("`", "\\u0060")


def _normalised(contract: Mapping[str, Any]) -> list[str]:
    """The lines that scale a batch, where the model expects that done."""
    told = contract.get("normalisation", {})
    if told.get("baked_in", True):
        return []
    if len(told["mean"]) > _MOST_NUMBERS:
        return ["# before: batch = (batch - mean) / std, as the model's metadata has them: compress.input"]
    one_per_channel = contract.get("layout") == "NCHW" and len(told["mean"]) > 1
    reshaped = ".reshape(-1, 1, 1)" if one_per_channel else ""
    mean, std = (
        f"np.array({[round(value, 6) for value in told[name]]}, np.float32){reshaped}" for name in ("mean", "std")
    )
    return [f"batch = (batch - {mean}) / {std}"]


def _where_measured(data: ReportData) -> str:
    machine = data.machine
    isa = ", ".join(machine.get("isa", ())) or "no known features"
    cpu, version = machine.get("cpu", "an unknown CPU"), data.versions.get("onnxruntime", "?")
    said = f"Measured on {cpu} ({isa}), ONNX Runtime {version}."
    restless = speed.unrest(data)
    return text(said) + (f"\n\n> ⚠️ {text(restless)}" if restless else "")


def _limitations(data: ReportData) -> str:
    found = []
    changes: Figure | None = quality.class_changes(data)
    lost = [row for row in changes.rows if row[-1].startswith("−")][:_WORST_CLASSES] if changes else []
    if lost:
        said = ", ".join(f"{name} ({before} → {after})" for name, _, before, after, _ in lost)
        found.append(f"{data.wording.many.capitalize()} that lost most against {data.the(data.base)}: {said}.")
    entry = _deployed(data)
    if entry is not None and "ece" in entry.metrics:
        found.append(f"Calibration error (ECE, 15 bins): {fmt.percent(entry.metrics['ece'])}.")
    quantized = next((link.quantization for link in data.links if link.quantization), None)
    if quantized is not None and quantized["ships"]:
        isa = ", ".join(quantized.get("checked_on_isa", ())) or "unknown features"
        found.append(
            f"Quantized for {quantized['target']['name']}; "
            f"accuracy was checked on {quantized.get('checked_on_cpu')} ({isa}). "
            "Another instruction set may round differently: check it there (compress pack)."
        )
    found.append("Judged on the test split named above and on nothing else; other data may give other results.")
    return "## Limitations\n\n" + "\n".join(f"- {text(each)}" for each in found)


def _reproduce(data: ReportData) -> str:
    made = f"Measurements `{data.key}`, seed {data.seed}, {data.created[:10]}."
    if data.command is None:
        return f"## Again\n\n{made}"
    return f"## Again\n\n{made}\n\n    {' '.join(data.command.split())}"


def _link_tags(data: ReportData) -> list[str]:
    ships = {link.stage for link in data.links if link.quantization is None or link.quantization["ships"]}
    return [tag for stage, tag in _TAGS.items() if stage in ships]


def _deployed(data: ReportData) -> Accuracy | None:
    student = data.candidate("student")
    runtime = data.headline.runtime
    return student.accuracy_on(runtime) if student is not None and runtime is not None else None


def _quoted(value: Any) -> str:
    """A YAML string that holds whatever the user named: JSON's strings are YAML's, but for pairs of surrogates."""
    inner = "".join(f"\\U{ord(char):08x}" if ord(char) > 0xFFFF else json.dumps(char)[1:-1] for char in str(value))
    return f'"{inner}"'


def _number(value: float) -> str:
    """A number that YAML 1.1 reads as one: without a point, `1e-05` would be text."""
    mantissa, exponent, power = f"{value:.6g}".partition("e")
    return f"{mantissa}{'.0' if exponent and '.' not in mantissa else ''}{exponent}{power}"

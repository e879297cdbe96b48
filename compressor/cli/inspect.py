"""`compress inspect`: what a model or an artifact is made of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compressor.errors import InputError, ModelError, TrustError

if TYPE_CHECKING:
    from compressor.artifact import Artifact
    from compressor.models.build import Loaded
    from compressor.models.inspection import Lineage, TapPoint
    from compressor.models.spec import ModelSpec

_MOST_TAPS = 30
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def inspect(
    model: Annotated[str, typer.Argument(help="A model spec (s.py, zoo:NAME, t.pt, net.onnx, ...) or an artifact.")],
    arch: Annotated[str | None, typer.Option("--arch", help="Architecture of a state dict, as a model spec.")] = None,
    num_classes: Annotated[int | None, typer.Option("--num-classes", help="Passed to builders that take it.")] = None,
    shape: Annotated[str | None, typer.Option("--shape", help="Shape of one sample: 3,32,32.")] = None,
    every: Annotated[bool, typer.Option("--all", help="List every module, not only those worth tapping.")] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Run the code that the file carries, this once.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
) -> None:
    """Show what a model is made of: size, MACs, modules worth tapping; for an artifact also where it came from.

    Example: compress inspect zoo:resnet20
    """
    from compressor import console
    from compressor import trust as trusted
    from compressor.models import spec as specs

    sample_shape = None if shape is None else _parse_shape(shape)
    spec = specs.parse(model)
    if trust and spec.path is not None:
        trusted.for_this_process(spec.path)
    if spec.kind == "onnx":
        from compressor import artifact

        assert spec.path is not None
        artifact.require_as_written(spec.path)
        facts = _onnx(spec.path)
    elif spec.kind == "artifact":
        facts = _artifact(spec, shape=sample_shape, every=every)
    else:
        facts = _network(spec, arch=arch, num_classes=num_classes, shape=sample_shape, every=every)
    facts = {"model": model, "kind": spec.kind, **facts}
    if as_json:
        console.as_json(facts)
    else:
        _show(facts)


def _parse_shape(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise InputError(f"'{text}' is no shape of a sample", where="--shape", hint="write --shape 3,32,32")
    return sizes


def _network(
    spec: ModelSpec,
    *,
    arch: str | None = None,
    num_classes: int | None = None,
    shape: tuple[int, ...] | None = None,
    every: bool = False,
) -> dict[str, Any]:
    if spec.kind == "state_dict" and arch is None:
        return _weights(spec, every=every)
    from compressor import trust as trusted

    if spec.kind in ("torchscript", "exported") and spec.path is not None and not trusted.is_trusted(spec.path):
        return _program(spec.path, kind=spec.kind, every=every)
    from compressor.models import inspection
    from compressor.models.load import load

    loaded = load(spec.text, arch=arch, num_classes=num_classes, sample_shape=shape)
    module = loaded.network.module
    facts: dict[str, Any] = {
        "class": type(module).__name__,
        "title": loaded.title,
        "trained": loaded.trained,
        "loading": list(loaded.steps),
        "parameters": inspection.count_parameters(module),
        "size_bytes": spec.path.stat().st_size if spec.path is not None and not spec.is_built else None,
        "normalisation": _known_normalisation(loaded),
    }
    side = 224 if "torchvision" in (spec.kind, (arch or "").partition(":")[0]) else 32
    tried = shape or inspection.likely_input_shape(module, side=side)
    facts |= {"input_shape": tried, "input_shape_is": "stated" if shape else "supposed", "macs": None, "taps": []}
    try:
        if tried is not None:
            facts["macs"] = inspection.count_macs(module, tried)
            facts["taps"] = [_tap(point) for point in inspection.tap_points(module, tried, every=every)]
    except ModelError:
        if shape is not None:
            raise
        facts["input_shape"] = None
    if not every:
        facts["taps"], facts["taps_left_out"] = _most_telling(facts["taps"])
    return facts


def _weights(spec: ModelSpec, *, every: bool) -> dict[str, Any]:
    """What a state dict says without the network that it belongs to."""
    from compressor.models.load import weights_of

    assert spec.path is not None
    state = weights_of(spec)
    learnt = [tensor for name, tensor in state.tensors.items() if name.rpartition(".")[2] not in _STATISTICS]
    tensors = [{"name": name, "shape": list(tensor.shape)} for name, tensor in state.tensors.items()]
    shown = _ends(tensors, every=every)
    return {
        "loading": list(state.steps),
        "parameters": sum(tensor.numel() for tensor in learnt),
        "size_bytes": spec.path.stat().st_size,
        "weights": shown,
        "weights_left_out": len(tensors) - len(shown),
    }


def _ends(tensors: list[dict[str, Any]], *, every: bool) -> list[dict[str, Any]]:
    """The first and the last of many."""
    if len(tensors) <= _MOST_TAPS or every:
        return tensors
    return tensors[: _MOST_TAPS // 2] + tensors[-_MOST_TAPS // 2 :]


def _program(file: Path, *, kind: str, every: bool) -> dict[str, Any]:
    """What a program that is not trusted says without being run."""
    from compressor.models import programs

    found = programs.look_into(file, kind=kind)
    learnt = [tensor for tensor in found.tensors if tensor.name.rpartition(".")[2] not in _STATISTICS]
    tensors = [{"name": each.name, "shape": list(each.shape), "dtype": each.dtype} for each in found.tensors]
    shown = _ends(tensors, every=every)
    facts: dict[str, Any] = {
        "code_bytes": found.code_bytes,
        "code_files": found.code_files,
        "size_bytes": file.stat().st_size,
        "weights": shown,
        "weights_left_out": len(tensors) - len(shown),
        "not_run": f"a program, and nothing of it has run; if you know where it comes from: compress trust {file} "
        "(or add --trust), and its input, MACs and modules are shown as well",
    }
    facts |= {"class": found.class_name} if found.class_name else {}
    facts |= {"parameters": sum(math.prod(each.shape) for each in learnt)} if found.unread is None else {}
    return facts | ({"weights_unread": found.unread} if found.unread else {})


def _tap(point: TapPoint) -> dict[str, Any]:
    return {"path": point.path, "kind": point.kind, "shape": list(point.shape), "stage_end": point.stage_end}


def _most_telling(taps: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """At most `_MOST_TAPS` of the taps, ends of stages first, in their order; and how many were left out."""
    ranked = sorted(range(len(taps)), key=lambda position: (not taps[position]["stage_end"], position))
    kept = [taps[position] for position in sorted(ranked[:_MOST_TAPS])]
    return kept, len(taps) - len(kept)


def _onnx(path: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from compressor.models.inspection import inspect_onnx

    return asdict(inspect_onnx(path))


def _artifact(spec: ModelSpec, *, shape: tuple[int, ...] | None, every: bool) -> dict[str, Any]:
    from compressor import artifact
    from compressor.models.inspection import lineage

    assert spec.path is not None
    read = artifact.read(spec.path)
    manifest = artifact.as_json(read.manifest)
    facts: dict[str, Any] = {
        name: manifest[name]
        for name in ("stage", "role", "key", "seed", "created", "elapsed_s", "settings", "data", "metrics", "decisions")
    }
    facts["holds"] = read.manifest.kind
    facts["size_bytes"] = sum(
        file.stat().st_size for name in read.manifest.files if (file := read.path / name).is_file()
    )
    facts["provenance"] = _lineage(lineage(read))
    facts["details"] = {name: value for name, value in manifest["details"].items() if name not in ("curve", "right")}
    size_bytes = facts["size_bytes"]
    facts |= _payload(read, spec, shape=shape, every=every)
    return facts | {"size_bytes": size_bytes}


def _payload(read: Artifact, spec: ModelSpec, *, shape: tuple[int, ...] | None, every: bool) -> dict[str, Any]:
    models = [name for name in read.manifest.files if name.endswith(".onnx")]
    if read.manifest.kind == "onnx" and models:
        return _onnx(read.file(models[0]))
    if read.manifest.kind != "torch":
        return {}
    recorded = read.manifest.details.get("network", {}).get("sample_shape") or None
    try:
        facts = _network(spec, shape=shape or (tuple(recorded) if recorded else None), every=every)
    except TrustError as fault:
        return {"not_looked_into": str(fault)}
    return facts | ({"input_shape_is": "recorded"} if recorded and not shape else {})


def _lineage(one: Lineage) -> dict[str, Any]:
    manifest = one.artifact.manifest if one.artifact is not None else None
    return {
        "role": one.role,
        "path": str(one.path),
        "stage": manifest.stage if manifest else None,
        "key": manifest.key if manifest else None,
        "created": manifest.created if manifest else None,
        "state": "gone" if manifest is None else "made again since" if one.changed else "as recorded",
        "parents": [_lineage(parent) for parent in one.parents],
    }


def _show(facts: Mapping[str, Any]) -> None:
    from compressor import console

    console.table(("what", "value"), list(_headline(facts)))
    for title, columns, rows in _sections(facts):
        console.show("")
        console.table(columns, rows, title=title)
    if facts.get("taps_left_out"):
        console.note(f"{facts['taps_left_out']} more blocks are left out; --all lists every module")
    if facts.get("weights_left_out"):
        console.note(f"{facts['weights_left_out']} tensors between them are left out; --all lists every one")
    if "not_run" in facts:
        if "weights_unread" in facts:
            console.note(f"its tensors cannot be listed: {facts['weights_unread']}")
        console.note(facts["not_run"])
    elif "weights" in facts:
        console.note("a state dict: weights without the network they belong to")
        console.note(
            "next: add the code that builds it: --arch file.py:callable (or timm:NAME, torchvision:NAME, zoo:NAME)"
        )
    if "taps" in facts and facts["input_shape"] is None:
        console.note("the shape of its input is not known, so nothing was run; state it: --shape 3,32,32")
    if "not_looked_into" in facts:
        console.note(f"the network was not looked into: {facts['not_looked_into']}")


def _headline(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The facts that are one value each, in reading order; those that are not known are left out."""
    yield "model", f"{facts['model']} ({facts['holds'] + ' ' if 'holds' in facts else ''}{facts['kind']})"
    for name in ("class", "stage", "role", "created"):
        if facts.get(name):
            yield name, str(facts[name])
    if "elapsed_s" in facts:
        yield "made in", f"{facts['elapsed_s']:.1f} s"
    if "parameters" in facts:
        yield "parameters", _count(facts["parameters"])
    if facts.get("macs") is not None:
        at = f" at {_shape(facts['input_shape'])} ({facts['input_shape_is']})" if "input_shape" in facts else ""
        yield "MACs a sample", f"{_count(facts['macs'])}{at}"
    if "code_bytes" in facts:
        files = "1 file" if facts["code_files"] == 1 else f"{facts['code_files']} files"
        yield "code", f"{facts['code_bytes'] / 1e3:.3g} kB in {files}"
    if facts.get("size_bytes") is not None:
        yield "size on disk", f"{facts['size_bytes'] / 1e6:.3g} MB"
    if "normalisation" in facts:
        yield "input normalisation", facts["normalisation"]
    if "opsets" in facts:
        yield "opset", ", ".join(f"{domain} {version}" for domain, version in facts["opsets"].items())
        yield "IR version", str(facts["ir_version"])
        yield "written by", facts["producer"]
    for step in facts.get("loading", ()):
        yield "loading", step
    for name, value in _flat(facts.get("metrics", {})):
        if isinstance(value, int | float):  # lists and texts (each class, intervals) are for --json
            yield name.replace(".metrics.", " ").replace(".", " "), f"{value:.4g}"


def _sections(facts: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[object]]]]:
    """Title, columns and rows of each table that has rows."""
    tensors = [
        (direction, tensor["name"], tensor["dtype"], _shape(tensor["shape"]))
        for direction in ("inputs", "outputs")
        for tensor in facts.get(direction, ())
    ]
    taps = [
        (tap["path"], tap["kind"], _shape(tap["shape"]), "end of a stage" if tap["stage_end"] else "")
        for tap in facts.get("taps", ())
    ]
    decisions = [(one["what"], one["choice"], one["reason"]) for one in facts.get("decisions", ())]
    provenance = list(_tree(facts["provenance"])) if "provenance" in facts else []
    sections: list[tuple[str, Sequence[str], Sequence[Sequence[object]]]] = [
        ("Inputs and outputs", ("", "name", "type", "shape"), tensors),
        ("Weights", *_weight_table(facts)),
        ("Operators", ("type", "count"), list(facts.get("operators", {}).items())),
        ("Metadata", ("key", "value"), list(facts.get("metadata", {}).items())),
        ("Modules to tap", ("path", "class", "output", ""), taps),
        ("Widths before and after pruning", ("layer", "class", "before", "after"), list(_widths(facts))),
        ("Layers that were not cut", ("layer", "why"), list(_pruning(facts).get("spared", {}).items())),
        (
            "Settings",
            ("setting", "value"),
            [(name, "not set" if value is None else value) for name, value in _flat(facts.get("settings", {}))],
        ),
        ("Decisions", ("what", "choice", "reason"), decisions),
        ("Provenance", ("artifact", "stage", "created", "path", "state"), provenance),
    ]
    return (section for section in sections if section[2])


def _weight_table(facts: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
    weights = facts.get("weights", ())
    if all("dtype" in each for each in weights):
        return ("name", "type", "shape"), [(each["name"], each["dtype"], _shape(each["shape"])) for each in weights]
    return ("name", "shape"), [(each["name"], _shape(each["shape"])) for each in weights]


def _pruning(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = facts.get("details", {}).get("pruning", {})
    return found


def _widths(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, int, str]]:
    """Outputs of each layer, with the share that is left of those that were cut."""
    for layer in _pruning(facts).get("widths", ()):
        before, after = layer["before"], layer["after"]
        yield layer["layer"], layer["kind"], before, str(after) + (f" ({after / before:.0%})" if after < before else "")


def _tree(one: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, str, str, str, str]]:
    """An artifact and, indented below it, those it was made from."""
    branch = "  " * (depth - 1) + "└ " if depth else ""
    created = (one["created"] or "")[:19].replace("T", " ")
    yield f"{branch}{one['role']}", one["stage"] or "", created, one["path"], one["state"]
    for parent in one["parents"]:
        yield from _tree(parent, depth + 1)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings or metrics as dotted names."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _count(number: int) -> str:
    """`271 117 (0.27 M)`: exact, and to read."""
    grouped = f"{number:,}".replace(",", " ")
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{grouped} ({number / size:.3g} {unit})"
    return grouped


def _shape(sizes: Sequence[object]) -> str:
    return " x ".join(str(size) for size in sizes)


def _known_normalisation(loaded: Loaded) -> str:
    """What is known of a network's input normalisation; a checkpoint does not say, and nothing is measured here."""
    if loaded.network.normalisation.mean:
        return str(loaded.network.normalisation)
    if loaded.trained:
        return "not stated by the file; compress evaluate finds it by measuring"
    return "chosen when it is trained"

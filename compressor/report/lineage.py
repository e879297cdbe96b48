"""The chain of artifacts that led to the measurements, walked from the bench back to the teacher."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressor.artifact import Artifact, in_order
from compressor.measure.record import Missing
from compressor.report.facts import DecisionFact, Epoch, Link, Taught


def made_again(bench: Artifact) -> tuple[str, ...]:
    """What was measured and has been replaced by something else since, as its run calls it."""
    found: dict[str, None] = {}
    for role, recorded in bench.manifest.parents.items():
        parent = bench.standing_for(role)
        if parent is not None and parent.manifest.key != recorded["key"]:
            found[role.removesuffix("-onnx")] = None
    return tuple(found)


def chain(bench: Artifact) -> tuple[tuple[Artifact, ...], tuple[Missing, ...]]:
    """Every artifact that `bench` came from, oldest first and itself last, and the recorded ones that are gone."""
    found: dict[Path, Artifact] = {}
    gone: list[Missing] = []
    waiting = [bench]
    while waiting:
        current = waiting.pop()
        if current.path.resolve() in found:
            continue
        found[current.path.resolve()] = current
        for role, recorded in current.manifest.parents.items():
            parent = current.standing_for(role)
            if parent is None:
                gone.append(Missing(f"the artifact of {role}", f"no longer at {_place(current, recorded['path'])}"))
            elif parent.manifest.key != recorded["key"]:
                place = _place(current, recorded["path"])
                gone.append(Missing(f"the artifact of {role} as it was", f"{place} has been made again since"))
            else:
                waiting.append(parent)
    return tuple(in_order(found.values())), tuple(dict.fromkeys(gone))


def link(artifact: Artifact, *, run_folder: Path) -> Link:
    """What the report keeps of one artifact."""
    manifest = artifact.manifest
    return Link(
        stage=manifest.stage,
        role=manifest.role,
        kind=manifest.kind,
        network=manifest.details.get("network", {}).get("title"),
        key=manifest.key,
        place=Path(os.path.relpath(artifact.path, run_folder.parent)).as_posix(),
        seed=manifest.seed,
        created=manifest.created,
        elapsed_s=manifest.elapsed_s,
        settings=manifest.settings,
        metrics=manifest.metrics,
        data=manifest.data,
        machine=manifest.machine,
        versions=manifest.versions,
        files=manifest.files,
        parents={role: recorded["key"] for role, recorded in manifest.parents.items()},
        curve=tuple(_epoch(entry) for entry in manifest.details.get("curve", ())),
        parity=manifest.details.get("parity"),
        input_contract=manifest.details.get("input_contract"),
        pruning=manifest.details.get("pruning"),
        quantization=_quantization(manifest.details),
    )


def _quantization(details: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a quantizing stage found, and whether that is what ships."""
    found = details.get("quantization")
    return None if found is None else {**found, "ships": details.get("result") != "float"}


def kept_for_its_size(artifacts: tuple[Artifact, ...]) -> bool:
    """Whether what ships is a quantized model that was not shown to be faster than in float."""
    return any(each.manifest.details.get("quantization", {}).get("kept_for") == "size" for each in artifacts)


def taught(artifacts: tuple[Artifact, ...]) -> Taught | None:
    """Who taught the student, as its own training recorded it; None where nothing was distilled."""
    distilled = [each for each in artifacts if each.manifest.stage == "distill" and each.manifest.role == "student"]
    told = distilled[-1].manifest.details.get("teacher") if distilled else None
    if not told:
        return None
    asked, title = told.get("asked"), told.get("title")
    return Taught(
        kind=str(told.get("kind", "network")),
        title=None if title is None else str(title),
        members=tuple(str(member) for member in told.get("members") or ()),
        asked=None if asked is None else int(asked),
        metrics={
            name: float(value) for name, value in (told.get("test") or {}).items() if isinstance(value, int | float)
        },
    )


def decisions(artifacts: tuple[Artifact, ...]) -> tuple[DecisionFact, ...]:
    """Every automatic choice along the chain, oldest first."""
    return tuple(
        DecisionFact(artifact.manifest.stage, artifact.manifest.role, decision.what, decision.choice, decision.reason)
        for artifact in artifacts
        for decision in artifact.manifest.decisions
    )


def _epoch(entry: Mapping[str, Any]) -> Epoch:
    val = entry.get("val") or {}
    return Epoch(
        epoch=int(entry["epoch"]),
        lr=entry.get("lr"),
        train_loss=entry.get("train_loss"),
        val={name: float(value) for name, value in val.items() if isinstance(value, int | float)},
    )


def _place(artifact: Artifact, relative: str) -> str:
    return Path(os.path.normpath(Path(artifact.path.name) / relative)).as_posix()

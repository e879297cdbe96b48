"""The ONNX models of a run."""

from __future__ import annotations

from pathlib import Path

from compressor import artifact, console
from compressor import recipe as recipes
from compressor.artifact import Artifact, Target
from compressor.errors import ArtifactError, ModelError, ParityError
from compressor.pipeline.current import ROLES, Role, Run
from compressor.pipeline.keys import libraries


def export(current: Run, role: Role, *, required: bool = True) -> Artifact | None:
    """Export a role's network to ONNX.

    Args:
        role: Whose network.
        required: Raise when it cannot be exported; otherwise remember why and go on.
    """
    source = current.artifacts[role]

    def make(target: Target) -> Artifact:
        from compressor.stages.export import export as stage

        return stage(source, current.recipe.export, dataset=current.dataset, task=current.task, target=target)

    name = _export_folder(source, role, of=current.folder)
    settings = current.settings(export=current.recipe.export)
    try:
        current.onnx[role] = current.link(
            name, "export", f"{role}-onnx", settings, make, parents={"source": source}, also=libraries()
        )
    except (ModelError, ParityError) as fault:
        if required:
            raise
        current.why_no_onnx[role] = fault.message.split("\n")[0]
        console.note(f"{name}: not exported: {current.why_no_onnx[role]}")
    return current.onnx.get(role)


def export_all(current: Run) -> None:
    """Export every network of a run; only the one that will be shipped must succeed."""
    for role in ROLES:
        if role in current.artifacts:
            export(current, role, required=role == shipped(current))


def export_as_before(current: Run) -> None:
    """Give the run the settings its shipped network was exported with, if it was, so that all are exported alike."""
    role = shipped(current)
    network = current.artifacts.get(role)
    if network is None:
        return
    folder = current.folder / _export_folder(network, role, of=current.folder)
    if not _is_export_of(folder, network):
        return
    kept = recipes.ExportSettings.model_validate(artifact.read(folder).manifest.settings["export"])
    current.recipe = current.recipe.model_copy(update={"export": kept})


def shipped(current: Run) -> Role:
    """The network that will be shipped: what the last link left."""
    return current.latest


def _export_folder(source: Artifact, role: Role, *, of: Path) -> str:
    """Named after the network's own folder, so that every command finds the same one and no two networks share it.

    Args:
        source: The network; a student's ONNX model is plain `export`.
        role: What it is in the run; a teacher from another run lies where one of this run would.
        of: The run's folder.
    """
    place = source.path.resolve()
    if place.parent != of.resolve():
        return "export-teacher" if role == "teacher" else f"export-{place.parent.name}-{place.name}"
    if place.name in ("train", "teacher") and source.manifest.role == "teacher":  # not a generalist among specialists
        return "export-teacher"
    return {"distill": "export", "prune": "export-pruned"}.get(place.name, f"export-{place.name}")


def _is_export_of(folder: Path, source: Artifact) -> bool:
    if not artifact.is_artifact(folder):
        return False
    there = artifact.read(folder)
    parent = there.parent("source")
    return parent is not None and parent.path.resolve() == source.path.resolve() and _is_whole(there)


def _is_whole(made: Artifact) -> bool:
    try:
        made.verify()
    except ArtifactError:
        return False
    return True

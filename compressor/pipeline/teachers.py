"""Who teaches in a run: a network trained here or adopted, several, a file, or nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compressor import artifact, console, registry
from compressor import recipe as recipes
from compressor.artifact import Artifact, Target
from compressor.errors import InputError
from compressor.pipeline.current import Run, given
from compressor.pipeline.networks import adopted, combined, member, trained
from compressor.pipeline.specialists import with_specialists
from compressor.recipe import TeacherSettings

if TYPE_CHECKING:
    from compressor.tasks._contract import Task


def make_teacher(current: Run) -> Artifact | None:
    """Train the teacher, adopt it, take the artifact that it is, or make one of several; None when it is no network."""
    settings = given(current.recipe.teacher, "teacher")
    takes = recipes.needs_of(settings.kind)
    _require_kind_for(current.task, settings.kind)
    if current.recipe.specialising is not None:
        current.artifacts["teacher"] = with_specialists(current, settings, current.recipe.specialising)
    elif current.recipe.train is not None:
        current.artifacts["teacher"] = trained(current, "train", "teacher", settings, current.recipe.train)
    elif settings.kind == "onnx":
        current.onnx["teacher"] = _onnx_teacher(current, settings)
        current.teacher_file = current.onnx["teacher"].file("model.onnx")
    elif "file" in takes:
        current.teacher_file = Path(settings.model)
    elif "networks" in takes:
        members = [member(current, number, each) for number, each in enumerate(settings.networks, start=1)]
        current.artifacts["teacher"] = combined(current, settings, members)
    elif settings.model:
        current.artifacts["teacher"] = adopted(current, settings, name="teacher", role="teacher")
    return current.artifacts.get("teacher")


def _require_kind_for(task: Task, name: str) -> None:
    """Refuse a kind of teacher that does not fit the task; of code of the user's own, the source may not have said so.

    Raises:
        InputError: It does not.
    """
    member = registry.find("teachers", name)
    asking = recipes.Asking.reading(member, {}, where="teacher.kind", needs=member.load().needs)
    for fault in recipes.teacher_faults(asking, task=task.gives):
        raise InputError(fault.message, where=fault.where, hint=fault.hint)


def _onnx_teacher(current: Run, settings: TeacherSettings) -> Artifact:
    """The artifact that an ONNX model is, or that it is adopted as."""
    if artifact.is_artifact(Path(settings.model)):
        return artifact.read(Path(settings.model))
    file = Path(settings.model)
    stated = {} if settings.normalise == "auto" else {"normalise": settings.normalise}
    options = {**stated, **settings.kind_options}

    def make(target: Target) -> Artifact:
        from compressor.stages.adopt import adopt_onnx as stage

        return stage(file, options=options, dataset=current.dataset, task=current.task, target=target)

    resolved = current.settings(model=settings, kind=settings.kind, kind_options=options)
    made = current.link("teacher", "adopt", "teacher", resolved, make, identity=settings)
    for decision in made.manifest.decisions:
        if decision.what.startswith("teacher's"):
            console.note(str(decision))
    return made

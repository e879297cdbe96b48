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
    from compressor.data.samples import Dataset


def make_teacher(current: Run) -> Artifact | None:
    """Train the teacher, adopt it, take the artifact that it is, or make one of several; None when it is no network."""
    settings = given(current.recipe.teacher, "teacher")
    takes = recipes.takes_of(settings.kind)
    _require_kind_for(current.dataset, settings.kind)
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


def _require_kind_for(dataset: Dataset, name: str) -> None:
    """Refuse a kind of teacher that cannot say what the labels are.

    Raises:
        InputError: It cannot.
    """
    kind = registry.find("teachers", name).load()
    tells_numbers = dataset.of_numbers
    if (kind.one_class and not dataset.one_class_each) or (kind.needs_labels and tells_numbers):
        label = "a row of numbers" if tells_numbers else "a set of classes"
        message = f"'{name}' is for samples of one class each, and a label here is {label}"
        hint = "use one PyTorch network (its checkpoint), or a kind that teaches itself"
        raise InputError(message, where="teacher.kind", hint=hint)


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

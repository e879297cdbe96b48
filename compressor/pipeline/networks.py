"""Networks that a run takes or makes: trained from labels, adopted from elsewhere, several as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from compressor import artifact, console
from compressor import recipe as recipes
from compressor.artifact import Artifact, Decision, Target
from compressor.models import spec as specs
from compressor.pipeline.current import Run, given
from compressor.recipe import DataSettings, ModelSettings, TeacherSettings

_SAID = ("normalisation", "columns left as they are", "the network's outputs")  # of what was decided about a network


def trained(
    current: Run,
    name: str,
    role: str,
    model: ModelSettings,
    training: recipes.TrainSettings,
    *,
    data: DataSettings | None = None,
    why: tuple[Decision, ...] = (),
    seed: int | None = None,
) -> Artifact:
    """A network trained from the labels alone: a teacher, a control, or a generation.

    Args:
        name: Folder of its artifact.
        role: What it is in the run; all but a teacher have as many steps as the student.
        model: Which network.
        training: With which budget.
        data: Shown in training, where that is not the recipe's.
        why: Decisions that led to these settings.
        seed: Where it is not the recipe's.
    """
    shown = data or given(current.recipe.data, "data")
    few = int(current.dataset.train.labelled.sum()) if role == "teacher" else None
    training, why_budget = current.settled(training, num_samples=few)

    def make(target: Target) -> Artifact:
        from compressor.data.unlabelled import for_labels_alone
        from compressor.stages.train import train as stage

        dataset, why_samples = for_labels_alone(current.dataset, as_many_steps=role != "teacher")
        target = replace(target, decisions=(*target.decisions, *why_samples))
        return stage(
            model,
            training,
            material=current.material(training, shown, dataset=dataset),
            target=target,
        )

    settings = current.settings(data=shown, model=model, training=training)
    why = (*why, *why_budget)
    return current.link(name, "train", role, settings, make, identity=model, why=why, seed=seed)


def member(current: Run, number: int, model: ModelSettings) -> Artifact:
    """One network of several that teach together."""
    return adopted(current, model, name=f"teacher-{number}", role="member")


def adopted(current: Run, model: ModelSettings, *, name: str, role: str) -> Artifact:
    """The artifact that a trained network is, or that it is adopted as."""
    if specs.parse(model.model).kind == "artifact":
        return artifact.read(Path(model.model))

    def make(target: Target) -> Artifact:
        from compressor.data.relabel import of_classes
        from compressor.stages.adopt import adopt as stage

        dataset = of_classes(current.dataset, model.classes) if model.classes else current.dataset
        return stage(model, dataset=dataset, task=current.task, target=target)

    made = current.link(name, "adopt", role, current.settings(model=model), make, identity=model)
    for decision in made.manifest.decisions:
        if decision.what in _SAID:
            console.note(f"{name}: {decision.what} {decision.choice} — {decision.reason}")
    return made


def combined(
    current: Run,
    settings: TeacherSettings,
    members: Sequence[Artifact],
    *,
    options: Mapping[str, Any] | None = None,
    also: Mapping[str, Artifact] | None = None,
) -> Artifact:
    """One network out of several, by the options of the recipe or those that a run has found."""
    options = settings.kind_options if options is None else options

    def make(target: Target) -> Artifact:
        from compressor.stages.adopt import combine as stage

        return stage(
            members,
            kind=settings.kind,
            options=options,
            dataset=current.dataset,
            task=current.task,
            target=target,
        )

    resolved = current.settings(kind=settings.kind, kind_options=options)
    parents = {f"member-{number}": each for number, each in enumerate(members, start=1)} | dict(also or {})
    return current.link("teacher", "adopt", "teacher", resolved, make, parents=parents)

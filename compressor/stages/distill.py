"""Train a student from a teacher: the stage this tool is named for."""

from __future__ import annotations

from compressor import registry
from compressor.artifact import Artifact, Target
from compressor.data.samples import Dataset
from compressor.models import checkpoint
from compressor.recipe import DataSettings, DistillSettings, LossSettings, ModelSettings
from compressor.tasks._contract import Task
from compressor.teachers._contract import Teacher
from compressor.training.engine import WeightedLoss
from compressor.training.produce import produce
from compressor.training.start import require_same_classes


def distill(
    student: ModelSettings,
    settings: DistillSettings,
    *,
    teacher: Artifact,
    kind: str,
    data: DataSettings,
    dataset: Dataset,
    task: Task,
    target: Target,
) -> Artifact:
    """Train `student` from `teacher` and keep its last epoch.

    Args:
        student: The network to train.
        settings: How, and with which losses.
        teacher: The artifact to learn from.
        kind: The kind of teacher, a member of `teachers`.
        data: Where `dataset` came from, and which views of it are shown.
        dataset: What both see.
        task: What the outputs mean.
        target: What to leave behind.

    Raises:
        ModelError: Student or teacher do not fit the data.
        InputError: A loss refuses its options.
        DivergenceError: Training met NaN or exploded.
        InterruptedRunError: Stopped by a signal; the same call goes on.
    """
    losses = _losses(settings.losses)
    answers = _teacher(kind, teacher, dataset)
    return produce(
        student, settings, teacher=answers, losses=losses, data=data, dataset=dataset, task=task, target=target
    )


def _losses(entries: tuple[LossSettings, ...]) -> tuple[WeightedLoss, ...]:
    """The losses with the names they have in logs: that of the member, numbered when it stands there more than once."""
    made: list[WeightedLoss] = []
    for entry in entries:
        member = registry.find("losses", entry.name)
        name = member.attr if ":" in entry.name else member.name
        earlier = sum(each.name.partition("-")[0] == name for each in made)
        name = f"{name}-{earlier + 1}" if earlier else name
        made.append(WeightedLoss(name, entry.weight, member.load()(**entry.options)))
    return tuple(made)


def _teacher(kind: str, source: Artifact, dataset: Dataset) -> Teacher:
    require_same_classes(source, dataset, what="teacher")
    make = registry.find("teachers", kind).load()
    teacher: Teacher = make(checkpoint.load(source).network)
    return teacher

"""Train a student from a teacher: the stage this tool is named for."""

from __future__ import annotations

from compressor.artifact import Artifact, Target
from compressor.data.samples import Dataset
from compressor.recipe import DataSettings, DistillSettings, ModelSettings
from compressor.tasks._contract import Task
from compressor.training.produce import produce
from compressor.training.sources import losses_of, read_features
from compressor.training.teaching import Teaching, teacher_of


def distill(
    student: ModelSettings,
    settings: DistillSettings,
    *,
    teaching: Teaching,
    data: DataSettings,
    dataset: Dataset,
    task: Task,
    target: Target,
) -> Artifact:
    """Train `student` from its teacher and keep its last epoch.

    Args:
        student: The network to train.
        settings: How, and with which losses.
        teaching: Who teaches.
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
    losses = losses_of(settings)
    teacher, why_teacher = teacher_of(
        teaching,
        settings,
        data=data,
        dataset=dataset,
        task=task,
        seed=target.seed,
        reads_features=read_features(losses),
    )
    return produce(
        student,
        settings,
        teacher=teacher,
        losses=losses,
        data=data,
        dataset=dataset,
        task=task,
        target=target,
        why_teacher=why_teacher,
        taught_by=teaching.described(),
    )

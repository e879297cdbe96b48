"""Train a student from a teacher: the stage this tool is named for."""

from __future__ import annotations

from typing import Any

from compressor.artifact import Artifact, Decision, Target
from compressor.data.samples import all_targets
from compressor.recipe import DistillSettings, ModelSettings
from compressor.teachers._contract import Teacher
from compressor.tensors import LOGITS
from compressor.training import sweep
from compressor.training.material import Material
from compressor.training.produce import produce
from compressor.training.sources import losses_of, read_features
from compressor.training.teaching import Teaching, teacher_of


def distill(
    student: ModelSettings,
    settings: DistillSettings,
    *,
    teaching: Teaching,
    material: Material,
    target: Target,
) -> Artifact:
    """Train `student` from its teacher and keep its last epoch; options that are `auto` are found by a sweep before.

    Args:
        student: The network to train.
        settings: How, and with which losses.
        teaching: Who teaches.
        material: Samples, how they are shown, and what outputs mean.
        target: What to leave behind.

    Raises:
        ModelError: Student or teacher do not fit the data.
        InputError: A loss refuses its options.
        DivergenceError: Training met NaN or exploded.
        InterruptedRunError: Stopped by a signal; the same call goes on.
    """
    reads_features = read_features(losses_of(settings, material.task))

    def make_teacher() -> tuple[Teacher, tuple[Decision, ...]]:
        return teacher_of(
            teaching,
            settings,
            material=material,
            seed=target.seed,
            reads_features=reads_features,
        )

    teacher, why_teacher = make_teacher()
    chosen, why_chosen = sweep.settle(
        student,
        settings,
        teacher=lambda: make_teacher()[0] if "changing" in teacher.gives else teacher,
        material=material,
        target=target,
    )
    made = produce(
        student,
        chosen,
        teacher=teacher,
        losses=losses_of(chosen, material.task),
        material=material,
        target=target,
        why_teacher=(*why_chosen, *why_teacher),
        taught_by=teaching.described() | _on_the_test_split(teacher, material),
    )
    sweep.discard(target)
    return made


def _on_the_test_split(teacher: Teacher, material: Material) -> dict[str, Any]:
    """`test`: the metrics of a teacher that nobody can measure, where it has answers to the test split on record."""
    test = material.dataset.test
    said_NK = teacher.on_record(test)
    if said_NK is None:
        return {}
    return {"test": material.task.metrics(material.task.findings({LOGITS: said_NK}, all_targets(test)))}

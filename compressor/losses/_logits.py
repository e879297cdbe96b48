"""What losses on logits share: rows of decisions in float32, standardised if wanted, beside the labels.

Shape letters: N rows of decisions, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compressor.errors import InputError
from compressor.tensors import LABEL, Batch, Outputs

_DEVIATION_FLOOR = 0.001


def compared(student: Outputs, teacher: Outputs, batch: Batch, *, standardise: bool) -> tuple[Tensor, Tensor]:
    """The decisions `[N, K]` of both, in float32 whatever the training precision; the teacher's carry no gradients."""
    student_NK = batch.task.rows(student.tensors, batch).values.float()
    teacher_NK = batch.task.rows(teacher.tensors, batch).values.float().detach()
    return (standardised(student_NK), standardised(teacher_NK)) if standardise else (student_NK, teacher_NK)


def standardised(logits_NK: Tensor) -> Tensor:
    """Zero mean and unit deviation for each row (Sun et al. 2024, arXiv 2403.01427, equation 9, sample deviation).

    Raises:
        InputError: Rows of fewer than three numbers, of which at most the order is left.
    """
    if logits_NK.shape[1] < 3:
        raise InputError(
            f"standardised logits of {logits_NK.shape[1]} classes all look alike; three are needed",
            where="standardise",
            hint="leave out standardise = true",
        )
    # The floor under the deviation keeps gradients finite for logits that are all alike, as those of a new network can be.
    deviation_N1 = (logits_NK.var(dim=1, keepdim=True) + _DEVIATION_FLOOR**2).sqrt()
    return (logits_NK - logits_NK.mean(dim=1, keepdim=True)) / deviation_N1


def with_labels(loss: Tensor, student: Outputs, batch: Batch, *, hard: float) -> Tensor:
    """`loss` plus `hard` times the task's own loss against the labels."""
    return loss + hard * batch.hard_loss(student) if hard else loss


def target_of(batch: Batch, teacher_NK: Tensor, *, where: str) -> Tensor:
    """The class number of each row; where samples are mixed, that of the sample with the larger share.

    A row without a label (below 0) has the class that the teacher decides for.

    Args:
        batch: With its labels.
        teacher_NK: The teacher's decisions.
        where: The loss that asks.

    Raises:
        InputError: The task has no single right class for each row.
    """
    labels_B = batch.targets.get(LABEL)
    if labels_B is None or labels_B.dim() != 1 or len(labels_B) != len(teacher_NK):
        raise InputError("needs one right class for each decision", where=where, hint="use kd or mse_logits here")
    labelled_B = batch.labelled
    if batch.mixed is not None:
        own_B = batch.mixed.share >= 0.5
        labels_B = labels_B.where(own_B, batch.mixed.targets[LABEL])
        labelled_B = labelled_B.where(own_B, batch.mixed.labelled)
    return torch.where(labelled_B, labels_B, teacher_NK.argmax(dim=1))


def require(
    name: str, *, above_zero: dict[str, float] | None = None, at_least_zero: dict[str, float] | None = None
) -> None:
    """Refuse options out of range.

    Raises:
        InputError: Names the first one, with its value.
    """
    for option, value in (above_zero or {}).items():
        if not value > 0:
            raise InputError(f"{option} = {value} must be above 0", where=f"{name}.{option}")
    for option, value in (at_least_zero or {}).items():
        if not value >= 0:
            raise InputError(f"{option} = {value} must not be negative", where=f"{name}.{option}")

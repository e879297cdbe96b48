"""What losses on logits share: rows of decisions in float32, standardised if wanted, beside the labels.

Shape letters: N rows of decisions, K classes.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from compressor.errors import InputError
from compressor.tensors import Batch, Outputs, Rows

_DEVIATION_FLOOR = 0.001


def compared(student: Outputs, teacher: Outputs, batch: Batch, *, standardise: bool) -> tuple[Tensor, Tensor]:
    """The decisions `[N, K]` of both, in float32 whatever the training precision; the teacher's carry no gradients.

    Rows that weigh nothing (an ignored pixel, padding) are left out, so that every mean is one over those that count.
    """
    rows = batch.task.rows(student.tensors, batch)
    student_NK = that_count(rows.values.float(), rows)
    teacher_NK = that_count(batch.task.rows(teacher.tensors, batch).values.float().detach(), rows)
    return (standardised(student_NK), standardised(teacher_NK)) if standardise else (student_NK, teacher_NK)


def that_count(values_M: Tensor, rows: Rows) -> Tensor:
    """Of values by row those of the rows that count; where none does, one of zeros, from which nothing is learned."""
    if rows.weight is None:
        return values_M
    found = values_M[rows.weight > 0]
    return found if len(found) else 0 * values_M[:1]


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


def target_of(batch: Batch, teacher: Outputs, teacher_MK: Tensor, *, where: str) -> Tensor:
    """The class number of each row `[M]`; where samples are mixed, that of the sample with the larger share.

    A row without a label has the class that the teacher decides for.

    Args:
        batch: With its targets.
        teacher: What the teacher predicts.
        teacher_MK: The same as rows.
        where: The loss that asks.

    Raises:
        InputError: The task has no single right class for each row.
    """
    rows = batch.task.rows(teacher.tensors, batch)
    if rows.target is None:
        raise InputError("needs one right class for each decision", where=where, hint="use kd or mse_logits here")
    target_M = rows.target
    if batch.mixed is not None:
        of_partners = replace(batch, targets=batch.mixed.targets, labelled=batch.mixed.labelled, mixed=None)
        partners_M = batch.task.rows(teacher.tensors, of_partners).target
        assert partners_M is not None
        own_M = (batch.mixed.share >= 0.5).repeat_interleave(rows.per_sample)
        target_M = target_M.where(own_M, partners_M)
    target_M = that_count(target_M, rows)
    return torch.where(target_M < 0, teacher_MK.argmax(dim=1), target_M)


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

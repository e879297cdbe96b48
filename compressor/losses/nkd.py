"""Normalised knowledge distillation: Yang et al. 2023 (arXiv 2303.13005), equation 7."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from compressor.losses._logits import compared, require, target_of, with_labels
from compressor.tensors import Batch, Outputs


class NKD:
    """A soft right class, and the others normalised to add up to one on both sides (Yang et al. 2023).

        hard · hard loss  −  T_t · log S_t  −  gamma · λ² · Σ_{i≠t} N(T_i) · log N(S_i)

    S and T are the probabilities of student and teacher, t the right class, N the normalisation of the others among
    themselves at temperature λ: cross-entropy only measures a distance when both sides add up to the same. Where samples are
    mixed, the right class is that of the larger share; for a sample without a label (below 0) it is the one that the teacher
    decides for.

    Args:
        temperature: λ, above 0, of the others.
        gamma: Weight of the others.
        hard: Weight of the loss against the labels.
        standardise: Compare standardised logits (Sun et al. 2024).

    Raises:
        InputError: An option out of range, or a task without a single right class.
    """

    needs = ("rows:softmax", "labels if hard > 0")

    def __init__(
        self, *, temperature: float = 1.0, gamma: float = 1.5, hard: float = 1.0, standardise: bool = False
    ) -> None:
        require("nkd", above_zero={"temperature": temperature}, at_least_zero={"gamma": gamma, "hard": hard})
        self.temperature, self.gamma = temperature, gamma
        self.hard, self.standardise = hard, standardise

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """The loss above, a scalar."""
        student_NK, teacher_NK, rows = compared(student, teacher, batch, standardise=self.standardise)
        target_N1 = target_of(batch, teacher, rows, teacher_NK, where="nkd")[:, None]
        own = F.log_softmax(student_NK, dim=1).gather(1, target_N1)
        weight = F.softmax(teacher_NK, dim=1).gather(1, target_N1)
        others_NK = torch.ones_like(student_NK, dtype=torch.bool).scatter_(1, target_N1, False)

        def among_themselves(logits_NK: Tensor) -> Tensor:
            rest = logits_NK[others_NK].reshape(len(logits_NK), -1)
            return F.log_softmax(rest / self.temperature, dim=1)

        rest = (among_themselves(teacher_NK).exp() * among_themselves(student_NK)).sum(dim=1)
        soft = -(weight * own).mean() - self.gamma * self.temperature**2 * rest.mean()
        return with_labels(soft, student, batch, hard=self.hard)

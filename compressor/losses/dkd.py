"""Decoupled knowledge distillation: Zhao et al. 2022 (arXiv 2203.08679), equations 6 and 7."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from compressor.losses._logits import compared, require, target_of, with_labels
from compressor.tensors import Batch, Outputs


class DKD:
    """The right class and the others apart, each with a weight of its own (Zhao et al. 2022).

        T² · (alpha · TCKD + beta · NCKD)  +  hard · hard loss

    TCKD is the KL divergence of (p_t, 1 − p_t), the probability of the right class against all others; NCKD that of the
    other classes among themselves. In KD the second is weighted by 1 − p_t, so a sure teacher teaches least (their
    equation 6: KD = TCKD + (1 − p_t) · NCKD). Where samples are mixed, the right class is that of the larger share;
    for a sample without a label (below 0) it is the one that the teacher decides for.

    Their CIFAR experiments raise the weight linearly over 20 epochs; here it is constant.

    Args:
        temperature: T, above 0.
        alpha: Weight of TCKD.
        beta: Weight of NCKD; the paper chooses it by the pair. 8 wants its warm-up (see docs/decisions/024).
        hard: Weight of the loss against the labels.
        standardise: Compare standardised logits (Sun et al. 2024).

    Raises:
        InputError: An option out of range, or a task without a single right class.
    """

    needs = ("rows:softmax", "labels if hard > 0")

    def __init__(
        self,
        *,
        temperature: float = 4.0,
        alpha: float = 1.0,
        beta: float = 2.0,
        hard: float = 1.0,
        standardise: bool = False,
    ) -> None:
        require(
            "dkd",
            above_zero={"temperature": temperature},
            at_least_zero={"alpha": alpha, "beta": beta, "hard": hard},
        )
        self.temperature, self.alpha, self.beta = temperature, alpha, beta
        self.hard, self.standardise = hard, standardise

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """The loss above, a scalar."""
        student_NK, teacher_NK, rows = compared(student, teacher, batch, standardise=self.standardise)
        target_N1 = target_of(batch, teacher, rows, teacher_NK, where="dkd")[:, None]
        own, others = _split(student_NK / self.temperature, target_N1)
        teachers_own, teachers_others = _split(teacher_NK / self.temperature, target_N1)
        tckd = F.kl_div(own, teachers_own, reduction="batchmean", log_target=True)
        nckd = F.kl_div(others, teachers_others, reduction="batchmean", log_target=True)
        soft = self.temperature**2 * (self.alpha * tckd + self.beta * nckd)
        return with_labels(soft, student, batch, hard=self.hard)


def _split(logits_NK: Tensor, target_N1: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of (right, any other) `[N, 2]`, and of the others among themselves `[N, K - 1]`."""
    count, classes = logits_NK.shape
    others_NK = torch.ones_like(logits_NK, dtype=torch.bool).scatter_(1, target_N1, False)
    rest = logits_NK[others_NK].reshape(count, classes - 1)
    rest_N1 = rest.logsumexp(dim=1, keepdim=True)
    both = torch.cat([logits_NK.gather(1, target_N1), rest_N1], dim=1)
    return both.log_softmax(dim=1), rest - rest_N1

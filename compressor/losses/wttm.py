"""Weighted transformed teacher matching: Zheng and Yang 2024 (arXiv 2402.11148), equations 9 and 15."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from compressor.losses._logits import compared, require, with_labels
from compressor.tensors import Batch, Outputs


class WTTM:
    """The teacher alone is softened, and samples on which it is unsure weigh more (Zheng & Yang 2024).

        beta · mean over rows of U(p) · KL(p^(1/T) ‖ student)  +  hard · hard loss

    p^(1/T) is the teacher's distribution raised to 1/T and normalised again, which is the same as dividing its logits by T.
    The student stays at temperature 1, so its answers are not flattened in training and sharpened in use; KL at two
    temperatures holds a Rényi entropy of the student that keeps it from being too sure. The weight is U(p) = Σ_k p_k^(1/T),
    1 for a teacher that is certain and K^(1 − 1/T) for one that knows nothing.

    Args:
        temperature: T, at least 1.
        beta: Weight of the soft part.
        weighted: Weigh samples by U(p); without it, it is their TTM.
        hard: Weight of the loss against the labels.
        standardise: Compare standardised logits (Sun et al. 2024).

    Raises:
        InputError: An option out of range.
    """

    needs = ("rows:softmax or rows:sigmoid", "labels if hard > 0")

    def __init__(
        self,
        *,
        temperature: float = 4.0,
        beta: float = 1.0,
        weighted: bool = True,
        hard: float = 1.0,
        standardise: bool = False,
    ) -> None:
        require("wttm", above_zero={"temperature": temperature}, at_least_zero={"beta": beta, "hard": hard})
        self.temperature, self.beta, self.weighted = temperature, beta, weighted
        self.hard, self.standardise = hard, standardise

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """The loss above, a scalar."""
        student_NK, teacher_NK, _ = compared(student, teacher, batch, standardise=self.standardise)
        transformed_NK = F.log_softmax(teacher_NK / self.temperature, dim=1)
        each_N = F.kl_div(F.log_softmax(student_NK, dim=1), transformed_NK, reduction="none", log_target=True).sum(1)
        if self.weighted:
            each_N = each_N * (F.log_softmax(teacher_NK, dim=1) / self.temperature).exp().sum(dim=1)
        return with_labels(self.beta * each_N.mean(), student, batch, hard=self.hard)

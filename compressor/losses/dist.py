"""Distillation from a stronger teacher: Huang et al. 2022 (arXiv 2205.10536), equations 6 to 10."""

from __future__ import annotations

from torch import Tensor

from compressor.batch import Batch, Outputs
from compressor.losses._logits import compared, require, with_labels

_FLOOR = 1e-8


class DIST:
    """Correlation instead of divergence: within each sample and, for each class, across the batch (Huang et al. 2022).

        T² · (beta · (1 − mean over samples of ρ) + gamma · (1 − mean over classes of ρ))  +  hard · hard loss

    ρ is Pearson's correlation of the probabilities at temperature T (their equation 6): of a sample's row (equation 8) and
    of a class's column over the batch (equation 9). It asks for the order and the ratios of the teacher's answers, not for
    their size, which a much smaller student cannot reach.

    Args:
        temperature: T, above 0; theirs is 4 on CIFAR-100 and 1 on ImageNet.
        beta: Weight within samples.
        gamma: Weight across the batch.
        hard: Weight of the loss against the labels.
        standardise: Compare standardised logits (Sun et al. 2024).

    Raises:
        InputError: An option out of range.
    """

    of_classes = True

    def __init__(
        self,
        *,
        temperature: float = 4.0,
        beta: float = 2.0,
        gamma: float = 2.0,
        hard: float = 1.0,
        standardise: bool = False,
    ) -> None:
        require(
            "dist",
            above_zero={"temperature": temperature},
            at_least_zero={"beta": beta, "gamma": gamma, "hard": hard},
        )
        self.temperature, self.beta, self.gamma = temperature, beta, gamma
        self.hard, self.standardise = hard, standardise

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """The loss above, a scalar."""
        student_NK, teacher_NK = compared(student, teacher, batch, standardise=self.standardise)
        mine_NK = (student_NK / self.temperature).softmax(dim=1)
        theirs_NK = (teacher_NK / self.temperature).softmax(dim=1)
        within = 1 - _correlation(mine_NK, theirs_NK).mean()
        across = 1 - _correlation(mine_NK.T, theirs_NK.T).mean()
        soft = self.temperature**2 * (self.beta * within + self.gamma * across)
        return with_labels(soft, student, batch, hard=self.hard)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of each row; 0 where a row is constant."""
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    lengths: Tensor = a.norm(dim=1) * b.norm(dim=1)
    return (a * b).sum(dim=1) / lengths.clamp_min(_FLOOR)

"""Distillation from a stronger teacher: Huang et al. 2022 (arXiv 2205.10536), equations 6 to 10."""

from __future__ import annotations

from torch import Tensor

from compressor.losses._logits import compared, require, with_labels
from compressor.losses._together import whole
from compressor.tensors import Batch, Outputs

_FLOOR = 1e-8
_LEAST_SHARE = 0.01


class DIST:
    """Correlation instead of divergence: within each sample and, for each class, across the batch (Huang et al. 2022).

        T² · (beta · (1 − mean over samples of ρ) + gamma · (1 − mean over classes of ρ))  +  hard · hard loss

    ρ is Pearson's correlation of the probabilities at temperature T (their equation 6): of a sample's row (equation 8) and
    of a class's column over the batch (equation 9). It asks for the order and the ratios of the teacher's answers, not for
    their size, which a much smaller student cannot reach. Of two classes the first part is left out, since two probabilities
    that add up to 1 always correlate fully; where a sample has any number of classes, each is a column of its own.

    Args:
        temperature: T, above 0; theirs is 4 on CIFAR-100 and 1 on ImageNet.
        beta: Weight within samples.
        gamma: Weight across the batch.
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
        student_NK, teacher_NK, _ = compared(student, teacher, batch, standardise=self.standardise)
        mine_NK = (student_NK / self.temperature).softmax(dim=1)
        theirs_NK = (teacher_NK / self.temperature).softmax(dim=1)
        soft = self.gamma * self._across(mine_NK, theirs_NK, batch)
        if mine_NK.shape[1] > 2:
            soft = soft + self.beta * (1 - _correlation(mine_NK, theirs_NK).mean())
        return with_labels(self.temperature**2 * soft, student, batch, hard=self.hard)

    def _across(self, mine_NK: Tensor, theirs_NK: Tensor, batch: Batch) -> Tensor:
        """How far each class is from the teacher's over the whole batch, all processes together."""
        samples = len(batch)
        if mine_NK.shape[1] == 2 and len(mine_NK) != samples:  # several decisions of yes or no for each sample
            mine_NK, theirs_NK = (each[:, 1].reshape(samples, -1) for each in (mine_NK, theirs_NK))
        if batch.shared:
            mine_NK, theirs_NK = whole(mine_NK), whole(theirs_NK)
        return 1 - _correlation(mine_NK.T, theirs_NK.T).mean()


def _correlation(mine: Tensor, theirs: Tensor) -> Tensor:
    """Pearson's correlation of each row of the student with the teacher's; 0 where a row is constant.

    A student whose answers are all alike, as those of a network are whose last layer begins at zero, would have gradients
    without bounds; its deviation counts as a share of the teacher's at least.
    """
    mine, theirs = mine - mine.mean(dim=1, keepdim=True), theirs - theirs.mean(dim=1, keepdim=True)
    length = theirs.norm(dim=1).clamp_min(_FLOOR)
    found: Tensor = (mine * theirs).sum(dim=1) / (length * mine.norm(dim=1).clamp_min(_LEAST_SHARE * length))
    return found

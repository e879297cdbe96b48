"""Hints: Romero et al. 2015 (arXiv 1412.6550), equation 3."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from compressor.losses._features import FeatureLoss, projector, to_size_of


class FitNet(FeatureLoss):
    """The student's features, through a learned projector, are to be the teacher's (Romero et al. 2015).

        ½ · mean of (teacher − projector(student))²

    Their equation 3 with the mean for the sum, and trained along with everything else instead of in a stage before it. The
    projector is a 1×1 convolution with BatchNorm (a linear layer for tokens); the larger of two grids is averaged down.

    Args:
        pairs: auto, or a list of [student module, teacher module]
        scale: the loss times this; the default is RepDistiller's
    """

    most_pairs = 1

    def __init__(self, *, pairs: str | Sequence[Sequence[str]] = "auto", scale: float = 100.0) -> None:
        super().__init__(pairs, scale=scale)
        self.projectors = nn.ModuleList()

    def build(self, shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
        """A projector for each pair."""
        self.projectors = nn.ModuleList(projector(mine, theirs) for mine, theirs in shapes)

    def compare(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair, a scalar."""
        projected = self.projectors[index](student)
        if projected.dim() == 4 and projected.shape[2] < teacher.shape[2]:
            teacher = to_size_of(teacher, projected)
        return 0.5 * F.mse_loss(to_size_of(projected, teacher), teacher)

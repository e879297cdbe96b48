"""Hints: Romero et al. 2015 (arXiv 1412.6550), equation 3."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from compressor.errors import ModelError
from compressor.losses._features import FeatureLoss, aligned, projector, require_same_places, width_of


class FitNet(FeatureLoss):
    """The student's features, through a learned projector, are to be the teacher's (Romero et al. 2015).

        ½ · mean of (teacher − projector(student))²

    Their equation 3 with the mean for the sum, and trained along with everything else instead of in a stage before it. The
    projector is a 1×1 convolution with BatchNorm (a linear layer for tokens); the larger of two grids is averaged down.

    Args:
        pairs: auto, or a list of [student module, teacher module]
        scale: the loss times this; the default is RepDistiller's 100, which stands there before the mean without the ½
        projected: false compares features as they are, for a student that was cut from its teacher and kept these widths
    """

    needs = ("features",)
    most_pairs = 1

    def __init__(
        self, *, pairs: str | Sequence[Sequence[str]] = "auto", scale: float = 100.0, projected: bool = True
    ) -> None:
        super().__init__(pairs, scale=scale)
        self.projected = projected
        self.projectors = nn.ModuleList()

    def build(self, shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
        """A projector for each pair.

        Raises:
            ModelError: A pair has no places in common; or there is to be none, and the widths of a pair differ.
        """
        require_same_places(self.pairs, shapes)
        if self.projected:
            self.projectors = nn.ModuleList(projector(mine, theirs) for mine, theirs in shapes)
            return
        for (mine, theirs), sizes in zip(self.pairs, shapes, strict=True):
            ours, others = (width_of(shape) for shape in sizes)
            if ours != others:
                message = f"'{mine}' of the student is {ours} wide and '{theirs}' of the teacher {others}"
                raise ModelError(message, where="projected", hint="leave out projected = false: a projector is learned")
        self.projectors = nn.ModuleList(nn.Identity() for _ in shapes)

    def compare(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair, a scalar."""
        return 0.5 * F.mse_loss(*aligned(self.projectors[index](student), teacher))

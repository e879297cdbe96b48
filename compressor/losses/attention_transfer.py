"""Attention transfer: Zagoruyko and Komodakis 2017 (arXiv 1612.03928), equations 1 and 2."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from compressor.errors import InputError
from compressor.losses._features import FeatureLoss, require_same_places, to_size_of
from compressor.tensors import Batch, Outputs


class AttentionTransfer(FeatureLoss):
    """The student is to look where the teacher looks (Zagoruyko & Komodakis 2017).

        sum over pairs of the mean over places of (Q_s / ‖Q_s‖ − Q_t / ‖Q_t‖)²,   Q = mean over channels of |feature|^power

    Their equation 2 takes the norm of the difference; the square of it is what their experiments (and everybody since) use.
    Maps need no projector, since channels are gone; the larger of two grids is averaged down.

    Args:
        pairs: auto, or a list of [student module, teacher module]
        scale: the loss times this; the default is the paper's β
        power: of the activations, before the mean over channels

    Raises:
        InputError: power is not above 0.
    """

    needs = ("features",)

    def __init__(
        self, *, pairs: str | Sequence[Sequence[str]] = "auto", scale: float = 1000.0, power: float = 2.0
    ) -> None:
        super().__init__(pairs, scale=scale)
        if not power > 0:
            raise InputError(f"power = {power} must be above 0", where="attention_transfer.power")
        self.power = power

    def build(self, shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
        """Nothing to make.

        Raises:
            ModelError: A pair has no places in common.
        """
        require_same_places(self.pairs, shapes)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """The loss above: pairs add up, as in the authors' code."""
        return len(self.pairs) * super().forward(student, teacher, batch)

    def compare(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair, a scalar; features `[B, C, H, W]`, or `[B, L, D]` with the tokens as places."""
        mine, theirs = self._map(student), self._map(teacher)
        if mine.shape[-2:] != theirs.shape[-2:]:
            smaller = min(mine, theirs, key=lambda each: each.shape[-1])
            mine, theirs = to_size_of(mine, smaller), to_size_of(theirs, smaller)
        return (F.normalize(mine.flatten(1), dim=1) - F.normalize(theirs.flatten(1), dim=1)).square().mean()

    def compare_tokens(self, index: int, student: Tensor, teacher: Tensor, *, there_BL: Tensor) -> Tensor:
        """The same with padding at 0, which leaves norms as they are; the mean is over tokens that are there."""
        maps = (self._map(each)[..., 0].masked_fill(~there_BL, 0.0) for each in (student, teacher))
        mine_BL, theirs_BL = (F.normalize(each, dim=1) for each in maps)
        return (mine_BL - theirs_BL).square().sum() / there_BL.sum().clamp(min=1)

    def _map(self, feature: Tensor) -> Tensor:
        channels = 1 if feature.dim() == 4 else 2
        return feature.abs().pow(self.power).mean(dim=channels, keepdim=True)

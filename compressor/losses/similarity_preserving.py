"""Similarity-preserving distillation: Tung and Mori 2019 (arXiv 1907.09682), equations 1 to 4."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from compressor.losses._features import FeatureLoss, are_tokens, rows_of
from compressor.losses._together import as_long_everywhere


class SimilarityPreserving(FeatureLoss):
    """Samples that are alike to the teacher are to be alike to the student (Tung & Mori 2019).

        ‖G_s − G_t‖² / B²,   G = A · Aᵀ with each row of unit length, A the features of the batch as rows

    Widths and grids may differ, as only samples are compared with one another.

    Args:
        pairs: auto, or a list of [student module, teacher module]
        scale: the loss times this; the default is the paper's γ
    """

    needs = ("features",)
    most_pairs = 1
    any_kind = True
    among_samples = True

    def __init__(self, *, pairs: str | Sequence[Sequence[str]] = "auto", scale: float = 3000.0) -> None:
        super().__init__(pairs, scale=scale)

    def compare(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair, a scalar."""
        return (_similarities(student) - _similarities(teacher)).square().sum() / len(student) ** 2

    def of_sample(self, feature: Tensor, there_BL: Tensor) -> Tensor:
        """With padding at 0, which adds nothing to products of samples; as long as the longest of all processes."""
        if not are_tokens(feature, there_BL):
            return feature
        return as_long_everywhere(feature.masked_fill(~there_BL[..., None], 0.0))


def _similarities(feature: Tensor) -> Tensor:
    """`[B, B]`, rows of unit length."""
    rows_BF = rows_of(feature)
    return F.normalize(rows_BF @ rows_BF.T, dim=1)

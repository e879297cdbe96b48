"""Probabilistic knowledge transfer: Passalis and Tefas 2018 (arXiv 1803.10837), equations 4 to 8."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from compressor.losses._features import FeatureLoss, embedded

_FLOOR = 1e-7


class PKT(FeatureLoss):
    """How probably one sample picks another as its neighbour is to be as with the teacher (Passalis & Tefas 2018).

        Σ_ij p_ij · log(p_ij / q_ij) / B,   p, q: (1 + cosine) / 2 between samples, each row adding up to 1

    p is the teacher's, q the student's. Widths may differ.

    Args:
        pairs: auto, or a list of [student module, teacher module]
        scale: the loss times this; the default is RepDistiller's 30 000, which stands before a mean over B × B numbers, at
            its B of 64
    """

    needs = ("features",)
    most_pairs = 1
    any_kind = True
    among_samples = True

    def __init__(self, *, pairs: str | Sequence[Sequence[str]] = "auto", scale: float = 470.0) -> None:
        super().__init__(pairs, scale=scale)

    def compare(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair, a scalar."""
        q_BB, p_BB = _neighbours(student), _neighbours(teacher)
        return (p_BB * torch.log((p_BB + _FLOOR) / (q_BB + _FLOOR))).sum() / len(student)


def _neighbours(feature: Tensor) -> Tensor:
    rows_BF = F.normalize(embedded(feature), dim=1)
    alike_BB = (rows_BF @ rows_BF.T + 1) / 2
    alike_BB = alike_BB * ~torch.eye(len(rows_BF), dtype=torch.bool, device=rows_BF.device)
    return alike_BB / alike_BB.sum(dim=1, keepdim=True).clamp_min(_FLOOR)

"""Sums of absolute weights: Li et al. 2017, Pruning Filters for Efficient ConvNets (arXiv 1608.08710), section 3.1."""

from __future__ import annotations

import torch_pruning as tp
from torch import Tensor

from compressor.surgery.criteria._contract import Needs


class L1:
    """Sum of the absolute weights of a channel, mean over the layers of its group (Li et al. 2017)."""

    needs: Needs = "weights"

    def __init__(self) -> None:
        self._importance = tp.importance.GroupMagnitudeImportance(p=1, group_reduction="mean", normalizer=None)

    def __call__(self, group: tp.Group) -> Tensor:
        """Scores `[width]`."""
        scores: Tensor = self._importance(group)
        return scores

"""The factors that BatchNorm scales channels by: Liu et al. 2017, Network Slimming (arXiv 1708.06519), section 3."""

from __future__ import annotations

import torch_pruning as tp
from torch import Tensor

from compressor.surgery.criteria import _group
from compressor.surgery.criteria._contract import Needs


class BNScale:
    """Absolute BatchNorm factor of a channel (Liu et al. 2017); weights decide where a group has no BatchNorm.

    The paper trains with a penalty on the factors first; without one, as here, they tell less.
    """

    needs: Needs = "weights"

    def __init__(self) -> None:
        self._importance = tp.importance.BNScaleImportance(group_reduction="mean", normalizer=None)

    def __call__(self, group: tp.Group) -> Tensor:
        """Scores `[width]`: mean over the BatchNorms of |γ|, or the sums of |w| where there is none."""
        scores = _group.scores_of(self._importance, group)
        return _group.magnitude(group, p=1) if scores is None else scores

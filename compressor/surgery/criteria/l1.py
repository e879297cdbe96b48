"""Sums of absolute weights: Li et al. 2017, Pruning Filters for Efficient ConvNets (arXiv 1608.08710), section 3.1."""

from __future__ import annotations

import torch_pruning as tp
from torch import Tensor

from compressor.surgery.criteria import _group
from compressor.surgery.criteria._contract import Needs


class L1:
    """Sum of the absolute weights of a channel, mean over the layers of its group (Li et al. 2017)."""

    needs: Needs = "weights"

    def __call__(self, group: tp.Group) -> Tensor:
        """Scores `[width]`: mean over the layers of the sum of |w| over a channel's weights."""
        return _group.magnitude(group, p=1)

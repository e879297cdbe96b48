"""Sums of squared weights, over all layers of a group: Fang et al. 2023, DepGraph (arXiv 2301.12900), section 3.3."""

from __future__ import annotations

import torch_pruning as tp
from torch import Tensor

from compressor.surgery.criteria import _group
from compressor.surgery.criteria._contract import Needs


class L2:
    """Sum of the squared weights of a channel, mean over the layers of its group (Fang et al. 2023)."""

    needs: Needs = "weights"

    def __call__(self, group: tp.Group) -> Tensor:
        """Scores `[width]`: mean over the layers of the sum of w² over a channel's weights."""
        return _group.magnitude(group, p=2)

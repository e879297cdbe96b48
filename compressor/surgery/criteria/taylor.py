"""First-order change of the loss: Molchanov et al. 2019, Importance Estimation for Pruning (arXiv 1906.10771)."""

from __future__ import annotations

import torch_pruning as tp
from torch import Tensor

from compressor.surgery.criteria import _group
from compressor.surgery.criteria._contract import Needs


class Taylor:
    """How much the loss would change without a channel, to first order: |w · ∂L/∂w| (Molchanov et al. 2019, equation 8).

    Of convolutions, fully connected layers and, as torch-pruning counts them, LayerNorms; BatchNorm's factors are left out.
    """

    needs: Needs = "gradients"

    def __init__(self) -> None:
        self._importance = tp.importance.GroupTaylorImportance(group_reduction="mean", normalizer=None)

    def __call__(self, group: tp.Group) -> Tensor:
        """Scores `[width]`; without gradients there is nothing to score, and all channels are alike."""
        scores = _group.scores_of(self._importance, group)
        return _group.magnitude(group, p=2) * 0 if scores is None else scores

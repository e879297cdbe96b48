"""Distance to the other filters: He et al. 2019, Filter Pruning via Geometric Median (arXiv 1811.00250), equation 5."""

from __future__ import annotations

import torch_pruning as tp
from torch import Tensor

from compressor.surgery.criteria import _group
from compressor.surgery.criteria._contract import Needs


class FPGM:
    """Sum of the distances of a channel's weights to those of all others (He et al. 2019): the replaceable ones go.

    A channel near the geometric median of its layer can be made up for by the others, however large its weights are.
    """

    needs: Needs = "weights"

    def __init__(self) -> None:
        self._importance = tp.importance.FPGMImportance(p=2, group_reduction="mean", normalizer=None)

    def __call__(self, group: tp.Group) -> Tensor:
        """Scores `[width]`: mean over the layers of Σ_j ‖w − w_j‖₂."""
        scores = _group.scores_of(self._importance, group)
        return _group.magnitude(group, p=2) if scores is None else scores

"""Second-order change of the loss: LeCun, Denker and Solla 1989, Optimal Brain Damage, equation 5."""

from __future__ import annotations

import torch_pruning as tp
from torch import Tensor

from compressor.surgery.criteria import _group
from compressor.surgery.criteria._contract import Needs


class Hessian:
    """How much the loss would change without a channel, to second order: w² · E[(∂L/∂w)²] (LeCun et al. 1989).

    The diagonal of the Hessian is taken as that of the Fisher information, the mean of squared gradients of single samples
    (Theis et al. 2018, arXiv 1801.05787, equation 7), which stand in `.grad` when this is called.
    """

    needs: Needs = "sample_gradients"

    def __init__(self) -> None:
        self._importance = tp.importance.GroupHessianImportance(group_reduction="mean", normalizer=None)

    def __call__(self, group: tp.Group) -> Tensor:
        """Scores `[width]`; without gradients there is nothing to score, and all channels are alike."""
        scores = _group.scores_of(self._importance, group)
        return _group.magnitude(group, p=2) * 0 if scores is None else scores

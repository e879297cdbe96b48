"""Layer-adaptive magnitude: Lee et al. 2021, Layer-adaptive Sparsity for the Magnitude-based Pruning (arXiv 2010.07611)."""

from __future__ import annotations

import torch
import torch_pruning as tp
from torch import Tensor

from compressor.surgery.criteria import _group
from compressor.surgery.criteria._contract import Needs


class LAMP:
    """Squared weights of a channel over those of all channels that matter at least as much (Lee et al. 2021).

    The score of their equation 1, w² / Σ w² over the weights that are not smaller, with a channel of a group in place of a
    weight: the last one standing always scores 1, so no layer is emptied.
    """

    needs: Needs = "weights"

    def __call__(self, group: tp.Group) -> Tensor:
        """Scores `[width]`, 0 to 1."""
        squares, order = _group.magnitude(group, p=2).double().sort()
        not_smaller = squares.flip(0).cumsum(0).flip(0)
        scores = torch.empty_like(squares)
        scores[order] = squares / not_smaller.clamp_min(torch.finfo(squares.dtype).tiny)
        return scores.float()

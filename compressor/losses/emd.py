"""Earth mover's matching of features: Fan and Hou 2021 (arXiv 2103.07350, version 1), with the weights of DeepEMD.

Zhang et al. 2020 (arXiv 2003.07082, section 3.3) give the weights. The results published with the former paper are withdrawn
by its authors, so nothing of them is claimed here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from compressor.errors import InputError
from compressor.losses._features import FeatureLoss, width_of

_PARTS_OF_A_PLACE = 4
_SHORTEST = 1e-4  # of a vector that has a direction: keeps gradients finite at the origin


class EMD(FeatureLoss):
    """Experimental: places of the student's features are moved onto the teacher's at least cost (Fan & Hou 2021).

        scale · mean over the batch of Σ flow · (1 − cosine)

    Each feature is a set of places (a grid averaged down; or tokens), the student's through a learned linear map to the
    teacher's width. A place weighs ReLU of its dot product with the mean of the other set; all the same where that leaves
    nothing. The cheapest flow between the two sets is solved exactly on the CPU for weights rounded to a quarter of a place,
    and carries no gradient; the cost does.

    Made for a network's own layers (teacher `own_depth`: deep ones teach shallow ones), and works with any teacher that
    gives features. The paper projects both sides; here the teacher's stay as they are, since two learned maps could
    agree on a constant.

    Args:
        pairs: auto, or a list of [student module, teacher module]
        scale: the loss times this
        grid: places in a row and in a column that a map is averaged down to; as many tokens as in the whole grid

    Raises:
        InputError: grid is not 1 to 8.
    """

    needs = ("features",)

    def __init__(self, *, pairs: str | Sequence[Sequence[str]] = "auto", scale: float = 1.0, grid: int = 4) -> None:
        super().__init__(pairs, scale=scale)
        if not 1 <= grid <= 8:
            raise InputError(f"grid = {grid} must lie between 1 and 8", where="emd.grid")
        self._grid = grid
        self.projectors = nn.ModuleList()

    def build(self, shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
        """A linear map for each pair."""
        self.projectors = nn.ModuleList(nn.Linear(width_of(mine), width_of(theirs)) for mine, theirs in shapes)

    def compare(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair, a scalar."""
        mine_BPC, theirs_BQC = self.projectors[index](self._places(student)), self._places(teacher)
        with torch.no_grad():
            weights = _weights(mine_BPC, theirs_BQC), _weights(theirs_BQC, mine_BPC)
        directions = (F.normalize(each, dim=2, eps=_SHORTEST) for each in (mine_BPC, theirs_BQC))
        cost_BPQ = 1 - torch.einsum("bpc,bqc->bpq", *directions)
        # what is not finite shows in the loss, which the loop watches; the solver would stop on it
        known = (each.nan_to_num().cpu().double().numpy() for each in (cost_BPQ.detach(), *weights))
        flow_BPQ = _flows(*known)
        flow = torch.from_numpy(flow_BPQ).to(cost_BPQ)
        return (flow * cost_BPQ).sum() / len(cost_BPQ)

    def compare_tokens(self, index: int, student: Tensor, teacher: Tensor, *, there_BL: Tensor) -> Tensor:
        """The mean over samples, each cut to its own tokens."""
        samples = zip(student, teacher, there_BL, strict=True)
        each = [self.compare(index, mine[there_L][None], theirs[there_L][None]) for mine, theirs, there_L in samples]
        return torch.stack(each).mean()

    def _places(self, feature: Tensor) -> Tensor:
        """`[B, P, C]`."""
        if feature.dim() == 4:
            size = (min(self._grid, feature.shape[2]), min(self._grid, feature.shape[3]))
            return F.adaptive_avg_pool2d(feature, size).flatten(2).transpose(1, 2)
        if feature.dim() == 3:
            count = min(self._grid**2, feature.shape[1])
            return F.adaptive_avg_pool1d(feature.transpose(1, 2), count).transpose(1, 2)
        return feature[:, None]


def _weights(rows_BPC: Tensor, others_BQC: Tensor) -> Tensor:
    """ReLU of each row's product with the mean of the others, `[B, P]`, adding up to 1; uniform where all are 0."""
    # the length of the mean does not matter, and a unit vector keeps very large features finite
    mean_BC = F.normalize(others_BQC.mean(dim=1), dim=1)
    products_BP = torch.einsum("bpc,bc->bp", rows_BPC, mean_BC).relu()
    total_B1 = products_BP.sum(dim=1, keepdim=True)
    return torch.where(total_B1 > 0, products_BP / total_B1.clamp_min(1e-30), 1 / rows_BPC.shape[1])


def _flows(
    cost_BPQ: NDArray[np.float64], mine_BP: NDArray[np.float64], theirs_BQ: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The cheapest way to move the one set of weights onto the other, `[B, P, Q]`, each adding up to 1.

    Weights are rounded to whole parts, so that moving them is an assignment of as many parts as there are on either side.
    """
    flow_BPQ = np.zeros_like(cost_BPQ)
    parts = _PARTS_OF_A_PLACE * max(cost_BPQ.shape[1:])
    for flow_PQ, cost_PQ, mine_P, theirs_Q in zip(flow_BPQ, cost_BPQ, mine_BP, theirs_BQ, strict=True):
        rows, columns = (np.repeat(np.arange(len(w)), _rounded(w, parts)) for w in (mine_P, theirs_Q))
        taken, given = linear_sum_assignment(cost_PQ[rows][:, columns])
        np.add.at(flow_PQ, (rows[taken], columns[given]), 1 / parts)
    return flow_BPQ


def _rounded(weights: NDArray[np.float64], parts: int) -> NDArray[np.int64]:
    """Whole numbers that add up to `parts`, as near as can be (largest remainders)."""
    wanted = weights * parts
    whole: NDArray[np.int64] = np.floor(wanted).astype(np.int64)
    left = parts - int(whole.sum())
    whole[np.argsort(whole - wanted, kind="stable")[: max(0, left)]] += 1
    return whole

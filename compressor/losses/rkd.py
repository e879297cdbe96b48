"""Relational knowledge distillation: Park et al. 2019 (arXiv 1904.05068), equations 4 to 8."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from compressor.losses._features import FeatureLoss, embedded
from compressor.losses._logits import require

_FLOOR = 1e-12
_SHORTEST = 1e-4  # what is nearer has no direction to learn


class RKD(FeatureLoss):
    """Distances between samples, and angles among three, are to be the teacher's (Park et al. 2019).

        distance · mean of huber(d_s − d_t)  +  angle · mean of huber(cos_s − cos_t)

    d is the distance of two samples over the mean distance in the batch (equations 4 and 5), cos the cosine of the angle
    that three of them form (equations 6 and 7), huber with a threshold of 1 (equation 8's l_δ). Features of pictures are
    averaged over their places first, so widths may differ.

    Args:
        pairs: auto, or a list of [student module, teacher module]
        distance: weight of the distances
        angle: weight of the angles

    Raises:
        InputError: A weight is negative.
    """

    needs = ("features",)
    most_pairs = 1
    any_kind = True
    among_samples = True

    def __init__(
        self, *, pairs: str | Sequence[Sequence[str]] = "auto", distance: float = 25.0, angle: float = 50.0
    ) -> None:
        super().__init__(pairs)
        require("rkd", at_least_zero={"distance": distance, "angle": angle})
        self.distance, self.angle = distance, angle

    def compare(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair, a scalar."""
        mine_BF, theirs_BF = embedded(student), embedded(teacher)
        far = F.smooth_l1_loss(_distances(mine_BF), _distances(theirs_BF))
        turned = F.smooth_l1_loss(_cosines(mine_BF), _cosines(theirs_BF))
        return self.distance * far + self.angle * turned


def _distances(rows_BF: Tensor) -> Tensor:
    """Euclidean distances `[B, B]` over the mean of those between different samples."""
    squares_B = rows_BF.square().sum(dim=1)
    squared_BB = (squares_B[:, None] + squares_B[None, :] - 2 * rows_BF @ rows_BF.T).clamp_min(_FLOOR)
    off_diagonal = ~torch.eye(len(rows_BF), dtype=torch.bool, device=rows_BF.device)
    distances_BB = squared_BB.sqrt() * off_diagonal
    return distances_BB / distances_BB[off_diagonal].mean().clamp_min(_FLOOR)


def _cosines(rows_BF: Tensor) -> Tensor:
    """Cosine of the angle at each sample between each two others, `[B, B, B]`."""
    directions_BBF = F.normalize(rows_BF[None, :, :] - rows_BF[:, None, :], dim=2, eps=_SHORTEST)
    return directions_BBF @ directions_BBF.transpose(1, 2)

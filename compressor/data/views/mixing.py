"""mixup (Zhang et al. 2018, arXiv 1710.09412) and CutMix (Yun et al. 2019, arXiv 1905.04899) as views.

Partner and share belong to the view: which of all training samples a sample is mixed with, and how much of it, follows from
seed, view and sample, not from the batch they happen to meet in. So a teacher's answer to a mixed sample can be kept.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betaincinv
from torch import Tensor

from compressor.data.views.erasing import rectangles
from compressor.data.views.stream import Draw

_QUANTILES = 4097


def partners(draw: Draw, *, num_samples: int) -> Tensor:
    """The sample that each one is mixed with, int64 `[B]`: any of the set, itself included."""
    return draw.below("mixing.partner", num_samples)


def mixed(inputs: Tensor, partner_inputs: Tensor, draw: Draw, *, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """Each sample mixed with its partner, and its own share of the result.

    Args:
        inputs: `[B, C, H, W]` (or `[B, F]` for mixup alone), float32 in 0–1.
        partner_inputs: Likewise.
        draw: Random numbers of the view.
        mixup: α of Beta(α, α), from which a sample's share is drawn; 0 for none.
        cutmix: Likewise. With both, half of the views have the one and half the other.

    Returns:
        The mixed inputs, and shares `[B]` float32.
    """
    cuts_B = draw.chance("mixing.which", 0.5 if mixup and cutmix else float(cutmix > 0))
    own_B = torch.ones(len(inputs), device=inputs.device)
    weight = own_B.view(-1, *[1] * (inputs.dim() - 1))
    if mixup:
        own_B = torch.where(cuts_B, own_B, beta(draw.uniform("mixing.mixup"), alpha=mixup))
        weight = own_B.view(-1, *[1] * (inputs.dim() - 1))
    if cutmix:
        side_B = (1 - beta(draw.uniform("mixing.cutmix"), alpha=cutmix)).sqrt()
        inside_BHW = rectangles(
            inputs,
            width_B=side_B,
            height_B=side_B,
            left_B=draw.uniform("mixing.left"),
            top_B=draw.uniform("mixing.top"),
        )
        inside_BHW = inside_BHW & cuts_B[:, None, None]
        own_B = torch.where(cuts_B, 1 - inside_BHW.float().mean(dim=(1, 2)), own_B)
        weight = torch.where(inside_BHW[:, None], 0.0, torch.where(cuts_B[:, None, None, None], 1.0, weight))
    return weight * inputs + (1 - weight) * partner_inputs, own_B


def beta(uniform_B: Tensor, *, alpha: float) -> Tensor:
    """Beta(α, α) from numbers evenly spread in 0–1: its inverse distribution function, interpolated in a table."""
    table = torch.from_numpy(_quantiles(alpha)).to(uniform_B.device)
    place_B = uniform_B * (_QUANTILES - 1)
    below_B = place_B.long().clamp(max=_QUANTILES - 2)
    return torch.lerp(table[below_B], table[below_B + 1], place_B - below_B)


@lru_cache(maxsize=8)
def _quantiles(alpha: float) -> NDArray[np.float32]:
    quantiles: NDArray[np.float32] = betaincinv(alpha, alpha, np.linspace(0, 1, _QUANTILES)).astype(np.float32)
    return quantiles

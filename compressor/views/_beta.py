"""Beta(α, α), from which mixing draws how much of a sample is its own."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import betaincinv
from torch import Tensor

_QUANTILES = 4097


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

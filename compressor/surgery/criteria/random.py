"""Chance, as a control for the other criteria."""

from __future__ import annotations

import numpy as np
import torch
import torch_pruning as tp
from torch import Tensor

from compressor.surgery.criteria._contract import Needs


class Random:
    """Chance: what every criterion should beat after the same recovery.

    Args:
        seed: Of the draw; groups are drawn in the order they are scored.
    """

    needs: Needs = "weights"

    def __init__(self, *, seed: int = 0) -> None:
        self._draw = np.random.default_rng(seed)

    def __call__(self, group: tp.Group) -> Tensor:
        """Scores `[width]`, uniform in 0 to 1."""
        return torch.from_numpy(self._draw.random(len(group[0].idxs)))

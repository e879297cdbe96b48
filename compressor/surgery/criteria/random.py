"""Chance, as a control for the other criteria."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
import torch_pruning as tp
from torch import Tensor

from compressor.surgery.criteria._contract import Needs


class Random:
    """Chance: what every criterion should beat after the same recovery.

    Args:
        seed: Of the draw, beside the weights of a group's first layer: another network, and the same one after a round of
            recovery, is drawn for anew, and whoever goes on after an interruption draws the same.
    """

    needs: Needs = "weights"

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed

    def __call__(self, group: tp.Group) -> Tensor:
        """Scores `[width]`, uniform in 0 to 1."""
        weights = group[0].dep.layer.weight.detach().cpu().contiguous().numpy().tobytes()
        drawn = int.from_bytes(hashlib.blake2b(weights, digest_size=8).digest(), "little")
        return torch.from_numpy(np.random.default_rng([self._seed, drawn]).random(len(group[0].idxs)))

"""An exponential moving average of a network's weights (Polyak & Juditsky 1992)."""

from __future__ import annotations

import copy

import torch
from torch import nn

from compressor.models.network import Network


class AveragedWeights:
    """Keeps `average ← decay · average + (1 − decay) · weights` of a network.

    Statistics that the network itself averages (BatchNorm) and integer buffers are copied, not averaged again. The decay
    warms up as `(1 + step) / (10 + step)` until it reaches its value, so that a short run forgets its start.

    Args:
        network: The network in training.
        decay: Share that stays at each step, below 1.
    """

    def __init__(self, network: Network, *, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, *, step: int) -> None:
        """Take in the weights after optimiser step `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, current in zip(self.network.parameters(), network.parameters(), strict=True):
            average.lerp_(current, 1 - decay)
        for kept, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            kept.copy_(buffer)

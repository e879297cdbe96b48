"""The usual teacher: a trained network that no longer changes."""

from __future__ import annotations

import torch
from torch import nn

from compressor.batch import Batch, Outputs
from compressor.models.taps import tapped


class FrozenNetwork:
    """A trained network, frozen, in evaluation mode; gives logits and the features of tapped modules.

    Args:
        network: Takes `[B, C, H, W]` in 0–1, gives `logits_BK`.
        taps: Dotted paths of modules whose outputs the losses read.
    """

    gives_features = True
    needs_labels = False
    trainable = False

    def __init__(self, network: nn.Module, *, taps: tuple[str, ...] = ()) -> None:
        self.network = network.eval().requires_grad_(False)
        self.taps = taps

    def answer(self, batch: Batch) -> Outputs:
        """The network's logits and tapped features, without gradients."""
        with torch.no_grad(), tapped(self.network, self.taps) as features:
            logits_BK = self.network(batch.inputs)
        return Outputs(logits_BK, dict(features))

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        """Move the network to where the batches are."""
        self.network.to(device=device)
        if memory_format is torch.channels_last:
            self.network.to(memory_format=memory_format)

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
    keeps_answers = False

    def __init__(self, network: nn.Module, *, taps: tuple[str, ...] = ()) -> None:
        self.network = network.eval().requires_grad_(False)
        self.taps = taps
        self.asked = 0

    def answer(self, batch: Batch) -> Outputs:
        """The network's logits and tapped features, without gradients."""
        with torch.inference_mode(), tapped(self.network, self.taps) as features:
            logits_BK = self.network(batch.inputs)
        self.asked += len(batch.inputs)
        # copies, since autograd may not keep a tensor of inference mode for the backward pass
        return Outputs(logits_BK.clone(), {path: feature.clone() for path, feature in features.items()})

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        """Move the network to where the batches are."""
        self.network.to(device=device)
        if memory_format is torch.channels_last:
            self.network.to(memory_format=memory_format)

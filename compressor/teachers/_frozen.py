"""What teachers of networks that no longer change have in common."""

from __future__ import annotations

import torch
from torch import nn

from compressor.models.taps import tapped
from compressor.teachers._contract import Teacher
from compressor.tensors import Batch, Outputs


class Frozen(Teacher):
    """A trained network, frozen, in evaluation mode; gives logits and the features of tapped modules.

    Args:
        network: Takes `[B, C, H, W]` in 0–1, gives `logits_BK`.
    """

    gives = ("features",)
    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval().requires_grad_(False)

    def answer(self, batch: Batch) -> Outputs:
        """The network's logits and tapped features, without gradients."""
        with torch.inference_mode(), tapped(self.network, self.taps) as features:
            output = self.network(batch.call)
        self.asked += len(batch)
        # a copy, since autograd may not keep a tensor of inference mode for the backward pass
        return Outputs({name: tensor.clone() for name, tensor in Outputs.of(output).tensors.items()}, features)

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        """Move the network to where the batches are."""
        self.network.to(device=device)
        if memory_format is torch.channels_last:
            self.network.to(memory_format=memory_format)

"""The usual teacher: a trained network that no longer changes."""

from __future__ import annotations

from torch import nn

from compressor.teachers._frozen import Frozen


class FrozenNetwork(Frozen):
    """A trained network, frozen, in evaluation mode; gives logits and the features of tapped modules.

    Args:
        network: takes `[B, C, H, W]` in 0–1, gives `logits_BK`
    """

    gives = ("features",)

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)

"""VGG-8 for 32x32 images, the small VGG of the CIFAR-100 distillation protocol.

Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015; cut to one
convolution per stage, with batch normalisation and one linear layer, as `vgg8` in RepDistiller (Tian et al., "Contrastive
representation distillation", ICLR 2020; github.com/HobbitLong/RepDistiller, `models/vgg.py`), whose module names,
initialisation and parameter count it has.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_CHANNELS = (64, 128, 256, 512, 512)


class VGG8(nn.Module):
    """Five convolutions, of which the first three are followed by pooling; global average; one linear layer."""

    def __init__(self, *, num_classes: int, in_channels: int) -> None:
        super().__init__()
        before = (in_channels, *_CHANNELS)
        for position, channels in enumerate(_CHANNELS):
            conv = nn.Conv2d(before[position], channels, kernel_size=3, padding=1)
            self.add_module(f"block{position}", nn.Sequential(conv, nn.BatchNorm2d(channels)))
        self.pool = nn.MaxPool2d(2)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(_CHANNELS[-1], num_classes)
        self._initialise()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits `[B, K]` of images of 8 x 8 or more."""
        maps = images_BCHW
        for position in range(len(_CHANNELS)):
            maps = torch.relu(self.get_submodule(f"block{position}")(maps))
            if position < 3:
                maps = self.pool(maps)
        logits: Tensor = self.classifier(self.average(maps).flatten(1))
        return logits

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.out_channels * math.prod(module.kernel_size)
                nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
                assert module.bias is not None
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)


def vgg8(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """VGG-8 with batch normalisation, as in RepDistiller (Tian et al. 2020), for 32x32 images; 3.9 M parameters."""
    return VGG8(num_classes=num_classes, in_channels=in_channels)

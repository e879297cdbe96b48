"""The CIFAR ResNets of He et al. 2016 (arXiv 1512.03385, section 4.2) with parameter-free shortcuts (option A).

Layer names are those of the widespread pretrained checkpoints: conv1, bn1, layer{1,2,3}.{i}.{conv1,bn1,conv2,bn2}, linear.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut that subsamples and zero-pads channels (option A).

    Shapes: `[B, C_in, H, W]` -> `[B, C_out, H / stride, W / stride]`.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = F.relu(self.bn1(self.conv1(x_BCHW)))
        y_BCHW = self.bn2(self.conv2(y_BCHW))
        return F.relu(y_BCHW + self._shortcut(x_BCHW))

    def _shortcut(self, x_BCHW: Tensor) -> Tensor:
        if self.stride != 1:
            x_BCHW = x_BCHW[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            before = self.new_channels // 2
            x_BCHW = F.pad(x_BCHW, (0, 0, 0, 0, before, self.new_channels - before))
        return x_BCHW


class CifarResNet(nn.Module):
    """6n + 2 layers in three stages of 16, 32 and 64 channels (times `width`); global average pooling; one linear layer."""

    def __init__(self, blocks_per_stage: int, num_classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        channels = [max(1, round(base * width)) for base in (16, 32, 64)]
        self.conv1 = nn.Conv2d(in_channels, channels[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.layer1 = self._stage(channels[0], channels[0], blocks_per_stage, stride=1)
        self.layer2 = self._stage(channels[0], channels[1], blocks_per_stage, stride=2)
        self.layer3 = self._stage(channels[1], channels[2], blocks_per_stage, stride=2)
        self.linear = nn.Linear(channels[2], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    @staticmethod
    def _stage(in_channels: int, out_channels: int, blocks: int, *, stride: int) -> nn.Sequential:
        first = BasicBlock(in_channels, out_channels, stride)
        return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, 1) for _ in range(blocks - 1)))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = F.relu(self.bn1(self.conv1(x_BCHW)))
        x_BCHW = self.layer3(self.layer2(self.layer1(x_BCHW)))
        return self.linear(x_BCHW.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def resnet8(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> nn.Module:
    """ResNet-8 for CIFAR: one block a stage, 78 k parameters."""
    return CifarResNet(1, num_classes, in_channels, width)


def resnet14(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> nn.Module:
    """ResNet-14 for CIFAR: two blocks a stage, 175 k parameters."""
    return CifarResNet(2, num_classes, in_channels, width)


def resnet20(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> nn.Module:
    """ResNet-20 for CIFAR: three blocks a stage, 0.27 M parameters (He et al. 2016, table 6)."""
    return CifarResNet(3, num_classes, in_channels, width)


def resnet32(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> nn.Module:
    """ResNet-32 for CIFAR: five blocks a stage, 0.46 M parameters (He et al. 2016, table 6)."""
    return CifarResNet(5, num_classes, in_channels, width)


def resnet56(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> nn.Module:
    """ResNet-56 for CIFAR: nine blocks a stage, 0.85 M parameters (He et al. 2016, table 6)."""
    return CifarResNet(9, num_classes, in_channels, width)


def resnet110(num_classes: int = 10, in_channels: int = 3, width: float = 1.0) -> nn.Module:
    """ResNet-110 for CIFAR: eighteen blocks a stage, 1.7 M parameters (He et al. 2016, table 6)."""
    return CifarResNet(18, num_classes, in_channels, width)

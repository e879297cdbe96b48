"""Wide residual networks for 32x32 images.

Zagoruyko, Komodakis, "Wide residual networks", BMVC 2016, table 1, with blocks B(3,3) in pre-activation order (He et al.,
"Identity mappings in deep residual networks", ECCV 2016). `wrn_D_K` has D layers that hold weights and is K times as
wide as the plain network; parameter counts equal the authors' (their table 4).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Normalise, ReLU, convolve, twice; the shortcut is a 1x1 convolution of the activated input where shapes differ."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        changes_shape = stride != 1 or channels_in != channels_out
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False) if changes_shape else None

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        """Maps of the same size, or of half the size at stride 2."""
        active = torch.relu(self.bn1(maps_BCHW))
        out: Tensor = self.conv2(self.dropout(torch.relu(self.bn2(self.conv1(active)))))
        return out + (maps_BCHW if self.shortcut is None else self.shortcut(active))


class WideResNet(nn.Module):
    """A convolution, three groups of `(depth - 4) / 6` blocks with 16, 32, 64 times `widen` channels, one linear layer."""

    def __init__(self, *, depth: int, widen: int, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        assert depth % 6 == 4, f"a wide residual network has 6n + 4 layers, not {depth}"
        self.conv = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        channels, groups = 16, []
        for base, stride in ((16, 1), (32, 2), (64, 2)):
            blocks = []
            for position in range((depth - 4) // 6):
                first = stride if position == 0 else 1
                blocks.append(Block(channels, base * widen, stride=first, dropout=dropout))
                channels = base * widen
            groups.append(nn.Sequential(*blocks))
        self.group1, self.group2, self.group3 = groups
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        self._initialise()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits `[B, K]`."""
        maps = self.group3(self.group2(self.group1(self.conv(images_BCHW))))
        logits: Tensor = self.fc(self.average(self.relu(self.bn(maps))).flatten(1))
        return logits

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)


def wrn_16_1(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """WRN-16-1 (Zagoruyko & Komodakis 2016) for 32x32 images; 0.2 M parameters."""
    return WideResNet(depth=16, widen=1, num_classes=num_classes, in_channels=in_channels, dropout=0.0)


def wrn_16_2(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """WRN-16-2 (Zagoruyko & Komodakis 2016) for 32x32 images; 0.7 M parameters."""
    return WideResNet(depth=16, widen=2, num_classes=num_classes, in_channels=in_channels, dropout=0.0)


def wrn_40_1(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """WRN-40-1 (Zagoruyko & Komodakis 2016) for 32x32 images; 0.6 M parameters."""
    return WideResNet(depth=40, widen=1, num_classes=num_classes, in_channels=in_channels, dropout=0.0)


def wrn_40_2(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """WRN-40-2 (Zagoruyko & Komodakis 2016) for 32x32 images; 2.2 M parameters."""
    return WideResNet(depth=40, widen=2, num_classes=num_classes, in_channels=in_channels, dropout=0.0)


def wrn_28_10(num_classes: int = 10, in_channels: int = 3, *, dropout: float = 0.0) -> nn.Module:
    """WRN-28-10 (Zagoruyko & Komodakis 2016) for 32x32 images; 36.5 M parameters.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the images.
        dropout: Share dropped between the two convolutions of a block (the paper's best: 0.3).
    """
    return WideResNet(depth=28, widen=10, num_classes=num_classes, in_channels=in_channels, dropout=dropout)

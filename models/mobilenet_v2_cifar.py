"""MobileNetV2 for 32x32 images.

Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: inverted residuals and linear bottlenecks", CVPR 2018, table 2.
The strides of the stem and of the second stage are 1 for 2, so that 32x32 ends as 4x4 where 224x224 would as 7x7. Layers,
and so the parameter count, are the paper's.

Not covered: the dropout before the classifier, which is of no use at this size.
"""

from __future__ import annotations

from torch import Tensor, nn

# Expansion, output channels, number of blocks, stride of the first: table 2 with the CIFAR stride in its second row.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """Expand (1x1), filter (3x3 depthwise), project linearly (1x1); with a shortcut where the shapes allow one."""

    def __init__(self, channels_in: int, channels_out: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        expand = _conv(channels_in, hidden, kernel_size=1) if expansion > 1 else ()
        depthwise = _conv(hidden, hidden, kernel_size=3, stride=stride, groups=hidden)
        project = _conv(hidden, channels_out, kernel_size=1)[:2]
        self.layers = nn.Sequential(*expand, *depthwise, *project)
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        """Maps of the same size, or of half the size at stride 2."""
        out: Tensor = self.layers(maps_BCHW)
        return maps_BCHW + out if self.has_shortcut else out


class MobileNetV2(nn.Module):
    """Stem, seven stages of inverted residuals, a 1x1 convolution, global average, one linear layer."""

    def __init__(self, *, num_classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        channels = _divisible(32 * width)
        self.stem = nn.Sequential(*_conv(in_channels, channels, kernel_size=3))
        stages = []
        for expansion, base, num_blocks, stride in _STAGES:
            blocks = []
            for position in range(num_blocks):
                out = _divisible(base * width)
                first = stride if position == 0 else 1
                blocks.append(InvertedResidual(channels, out, expansion=expansion, stride=first))
                channels = out
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        last = _divisible(1280 * max(1.0, width))
        self.head = nn.Sequential(*_conv(channels, last, kernel_size=1))
        self.average = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(last, num_classes)
        self._initialise()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits `[B, K]`."""
        maps = self.head(self.stages(self.stem(images_BCHW)))
        logits: Tensor = self.classifier(self.average(maps).flatten(1))
        return logits

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)


def mobilenet_v2(num_classes: int = 10, in_channels: int = 3, *, width: float = 1.0) -> nn.Module:
    """MobileNetV2 (Sandler et al. 2018) with CIFAR strides, for 32x32 images; 2.2 M parameters at width 1.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the images.
        width: Multiplier of all channels, rounded to multiples of 8 (0.5: 0.7 M parameters).
    """
    return MobileNetV2(num_classes=num_classes, in_channels=in_channels, width=width)


def _conv(
    channels_in: int, channels_out: int, *, kernel_size: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, ...]:
    """Convolution, batch normalisation and ReLU6."""
    conv = nn.Conv2d(channels_in, channels_out, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(channels_out), nn.ReLU6(inplace=True)


def _divisible(channels: float) -> int:
    """The multiple of 8 nearest to `channels`, at least 8, and not more than 10 % below it (the authors' rounding)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded

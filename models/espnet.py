"""ESPNet for semantic segmentation.

Mehta, Rastegari, Caspi, Shapiro, Hajishirzi, "ESPNet: efficient spatial pyramid of dilated convolutions for semantic
segmentation", ECCV 2018 (arXiv 1803.06815), figures 1, 3 and 4. An ESP module reduces its input by a 1x1 convolution, filters
that by 3x3 convolutions of dilation 1, 2, 4, 8 and 16, adds the results up from the second on (their hierarchical feature
fusion, against gridding), and concatenates them. Downsampled copies of the image join each level. ESPNet-C is the encoder with
logits at an eighth of the size; ESPNet has the light decoder, with logits at half of it.

As in the authors' code the reduction before a strided ESP module is a strided 3x3 convolution, and PReLU has a slope for each
channel. Unlike there, the last upsampling is left to the caller, who brings logits to the size of the image anyway: their
transposed convolution would learn it for 4·K² weights more.

Not covered: the input normalisation (the caller's).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_DILATIONS = (1, 2, 4, 8, 16)


class ESP(nn.Module):
    """Reduce, five dilated convolutions, hierarchical sums, concatenate (figure 1); with a shortcut where the shapes allow."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int = 1) -> None:
        super().__init__()
        narrow = channels_out // len(_DILATIONS)
        widest = channels_out - narrow * (len(_DILATIONS) - 1)
        self.reduce = nn.Conv2d(channels_in, narrow, 3 if stride > 1 else 1, stride, int(stride > 1), bias=False)
        self.branches = nn.ModuleList(
            nn.Conv2d(narrow, widest if dilation == 1 else narrow, 3, padding=dilation, dilation=dilation, bias=False)
            for dilation in _DILATIONS
        )
        self.norm = nn.BatchNorm2d(channels_out)
        self.act = nn.PReLU(channels_out)
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        """Maps of the same size, or of half the size at stride 2."""
        reduced = self.reduce(maps_BCHW)
        first, *others = (branch(reduced) for branch in self.branches)
        parts, total = [first], None
        for each in others:
            total = each if total is None else total + each
            parts.append(total)
        maps = torch.cat(parts, dim=1)
        out: Tensor = self.act(self.norm(maps_BCHW + maps if self.has_shortcut else maps))
        return out


class ESPNet(nn.Module):
    """Three levels of ESP modules beside downsampled copies of the image, and a decoder that may be left out."""

    def __init__(
        self, *, num_classes: int, in_channels: int, width: float, depth: tuple[int, int], decoder: bool
    ) -> None:
        super().__init__()
        stem, middle, deep = (max(10, round(base * width)) for base in (16, 64, 128))
        self.stem = _conv_norm_act(in_channels, stem, stride=2)
        first = stem + in_channels
        self.norm1 = _norm_act(first)
        self.down2 = ESP(first, middle, stride=2)
        self.level2 = nn.Sequential(*(ESP(middle, middle) for _ in range(depth[0])))
        second = 2 * middle + in_channels
        self.norm2 = _norm_act(second)
        self.down3 = ESP(second, deep, stride=2)
        self.level3 = nn.Sequential(*(ESP(deep, deep) for _ in range(depth[1])))
        self.norm3 = _norm_act(2 * deep)
        self.classifier = nn.Conv2d(2 * deep, num_classes, 1)
        self.halve = nn.AvgPool2d(3, stride=2, padding=1)
        self.has_decoder = decoder
        if decoder:
            self.skip2 = nn.Conv2d(second, num_classes, 1, bias=False)
            self.merge2 = nn.Sequential(_norm_act(2 * num_classes), ESP(2 * num_classes, _fives(num_classes)))
            self.merge1 = _conv_norm_act(first + _fives(num_classes), num_classes)
            self.last = nn.Conv2d(num_classes, num_classes, 1)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits `[B, K, H / 2, W / 2]`, or `[B, K, H / 8, W / 8]` without a decoder, of images of any size."""
        half = self.halve(images_BCHW)
        level1 = self.norm1(torch.cat([self.stem(images_BCHW), half], dim=1))
        down2 = self.down2(level1)
        level2 = self.norm2(torch.cat([self.level2(down2), down2, self.halve(half)], dim=1))
        down3 = self.down3(level2)
        logits: Tensor = self.classifier(self.norm3(torch.cat([self.level3(down3), down3], dim=1)))
        if not self.has_decoder:
            return logits
        merged = self.merge2(torch.cat([self.skip2(level2), _to(logits, level2)], dim=1))
        logits = self.last(self.merge1(torch.cat([_to(merged, level1), level1], dim=1)))
        return logits


def espnet(
    num_classes: int = 20,
    in_channels: int = 3,
    *,
    width: float = 1.0,
    level2: int = 2,
    level3: int = 8,
    decoder: bool = True,
) -> nn.Module:
    """ESPNet (Mehta et al. 2018) for semantic segmentation; 0.34 M parameters at width 1 and 20 classes.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the images.
        width: Multiplier of all channels.
        level2: ESP modules at a quarter of the size (the paper's alpha2).
        level3: ESP modules at an eighth of it (alpha3: 3, 5 or 8).
        decoder: With false, ESPNet-C: logits at an eighth of the size.
    """
    return ESPNet(
        num_classes=num_classes, in_channels=in_channels, width=width, depth=(level2, level3), decoder=decoder
    )


def _fives(num_classes: int) -> int:
    """Channels of an ESP module for so many classes: two for each of its branches at least."""
    return max(num_classes, 2 * len(_DILATIONS))


def _to(maps_BCHW: Tensor, like: Tensor) -> Tensor:
    """Maps in the size of others (bilinear)."""
    return F.interpolate(maps_BCHW, (like.shape[2], like.shape[3]), mode="bilinear", align_corners=False)


def _norm_act(channels: int) -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.PReLU(channels))


def _conv_norm_act(channels_in: int, channels_out: int, *, stride: int = 1) -> nn.Module:
    conv = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.PReLU(channels_out))

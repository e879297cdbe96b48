"""Brightness, contrast, saturation and sharpness, each image by its own factor.

The definitions are those of Pillow's ImageEnhance and torchvision: a blend of the image with a duller one, `factor · image +
(1 − factor) · dull`, kept in 0–1. All of it is arithmetic on single pixels but for the mean of an image, which is summed in
float64, so that a result does not depend on what else is in the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_LUMA = (0.2989, 0.587, 0.114)


def brightness(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """Blend with black."""
    return _blend(images_BCHW, torch.zeros((), device=images_BCHW.device), factor_B)


def contrast(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """Blend with the image's mean grey."""
    mean_B = grey(images_BCHW).double().mean(dim=(1, 2, 3)).float()
    return _blend(images_BCHW, mean_B[:, None, None, None], factor_B)


def saturation(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """Blend with the image in grey."""
    return _blend(images_BCHW, grey(images_BCHW), factor_B)


def sharpness(images_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """Blend with the image smoothed by (1 1 1, 1 5 1, 1 1 1) / 13; the outermost pixels stay."""
    height, width = images_BCHW.shape[2:]
    if min(height, width) < 3:
        return images_BCHW
    total = 4 * images_BCHW[:, :, 1:-1, 1:-1]
    for down in range(3):
        for across in range(3):
            total = total + images_BCHW[:, :, down : down + height - 2, across : across + width - 2]
    smooth_BCHW = images_BCHW.clone()
    smooth_BCHW[:, :, 1:-1, 1:-1] = total / 13
    return _blend(images_BCHW, smooth_BCHW, factor_B)


def grey(images_BCHW: Tensor) -> Tensor:
    """Luma `[B, 1, H, W]` (ITU-R 601) of a color image; an image of another number of channels is averaged."""
    if images_BCHW.shape[1] != 3:
        return images_BCHW.mean(dim=1, keepdim=True)
    red, green, blue = images_BCHW.unbind(1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue)[:, None]


def _blend(images_BCHW: Tensor, dull: Tensor, factor_B: Tensor) -> Tensor:
    factor = factor_B[:, None, None, None]
    return F.relu(factor * images_BCHW + (1 - factor) * dull).clamp(max=1.0)

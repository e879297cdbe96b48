"""Images as views read them: which inputs are some, their two types, and masks that move along."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from compressor.data.loader import to_float
from compressor.tensors import IGNORED, TensorSpec
from compressor.views._contract import View


def is_image(spec: TensorSpec) -> bool:
    """Whether an input is an image `[C, H, W]` of one size."""
    return len(spec.shape) == 3 and not spec.varying


class ImageView(View):
    """Base of views that read images of one size and nothing else."""

    wants: ClassVar[str] = "{value} asks for an image"

    def reads(self, spec: TensorSpec) -> bool:
        """Images `[C, H, W]` of one size."""
        return is_image(spec)


def in_float(images: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Change images in float32; uint8 comes back as uint8, rounded."""
    if images.dtype != torch.uint8:
        return change(images)
    return _to_bytes(change(to_float(images)))


def in_bytes(images: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Change images in uint8; float32 comes back as float32, in 256 levels."""
    if images.dtype == torch.uint8:
        return change(images)
    return to_float(change(_to_bytes(images)))


def moved_mask(mask_BHW: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """A mask `[B, H, W]` moved by what moves images `[B, 1, H, W]`; what comes from outside counts for nothing."""
    # Inverted, what is ignored is 0: the value that a crop pads with.
    inverted_B1HW = (IGNORED - mask_BHW)[:, None]
    return (IGNORED - change(inverted_B1HW))[:, 0]


def rectangles(images_BCHW: Tensor, *, width_B: Tensor, height_B: Tensor, left_B: Tensor, top_B: Tensor) -> Tensor:
    """Which pixels `[B, H, W]` lie in each image's rectangle.

    Args:
        images_BCHW: For their size and device.
        width_B: Share of the width.
        height_B: Share of the height.
        left_B: Where the rectangle begins, as a share of the room it has.
        top_B: Likewise from the top.
    """
    height, width = images_BCHW.shape[2:]
    wide_B, high_B = (width_B * width).round(), (height_B * height).round()
    start_x_B, start_y_B = (left_B * (width - wide_B)).round(), (top_B * (height - high_B)).round()
    x_W = torch.arange(width, device=images_BCHW.device)
    y_H = torch.arange(height, device=images_BCHW.device)
    inside_BW = (x_W >= start_x_B[:, None]) & (x_W < (start_x_B + wide_B)[:, None])
    inside_BH = (y_H >= start_y_B[:, None]) & (y_H < (start_y_B + high_B)[:, None])
    return inside_BH[:, :, None] & inside_BW[:, None, :]


def _to_bytes(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)

"""Random erasing (Zhong et al. 2020, arXiv 1708.04896)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from compressor.data.views.stream import Draw

_AREAS = (0.02, 0.33)
_ASPECTS = (0.3, 3.3)
_GREY = 0.5


def erased(images_BCHW: Tensor, draw: Draw, *, chance: float) -> Tensor:
    """A random rectangle of some images in mid-grey: 2 to 33 % of the area, aspect ratio log-uniform from 0.3 to 3.3.

    Args:
        images_BCHW: uint8, or float32 in 0–1.
        draw: Random numbers of the view.
        chance: Of an image to lose a rectangle.
    """
    area_B = draw.uniform("erasing.area", *_AREAS)
    aspect_B = draw.uniform("erasing.aspect", math.log(_ASPECTS[0]), math.log(_ASPECTS[1])).exp()
    inside_BHW = rectangles(
        images_BCHW,
        width_B=(area_B * aspect_B).sqrt().clamp(max=1.0),
        height_B=(area_B / aspect_B).sqrt().clamp(max=1.0),
        left_B=draw.uniform("erasing.left"),
        top_B=draw.uniform("erasing.top"),
    )
    inside_BHW = inside_BHW & draw.chance("erasing", chance)[:, None, None]
    value = round(_GREY * 255) if images_BCHW.dtype == torch.uint8 else _GREY
    return images_BCHW.masked_fill(inside_BHW[:, None], value)


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

"""Resized crop (Szegedy et al. 2015, arXiv 1409.4842, section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from compressor.tensors import MASK
from compressor.views._contract import MOVED, Effect
from compressor.views._pixels import ImageView, in_float, moved_mask
from compressor.views._stream import Draw

_ASPECTS = (3 / 4, 4 / 3)


class ResizedCrop(ImageView):
    """A random rectangle brought to the size of the whole image (Szegedy et al. 2015, section 6).

    The area is uniform from `least` to 1 of the image's, the aspect ratio log-uniform from 3/4 to 4/3. A part is only ever
    enlarged, so nothing has to be smoothed first.
    """

    order: ClassVar[int] = 10
    targets: ClassVar[Mapping[str, Effect]] = {MASK: MOVED}

    def __init__(self, *, least: float = 1.0) -> None:
        """
        Args:
            least: Smallest share of the area that is kept.
        """
        self.least = least

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        """Pixels in between are bilinear."""
        return in_float(inputs, lambda images: self._cut(images, draw, mode="bilinear"))

    def move(self, name: str, target: Tensor, draw: Draw) -> Tensor:
        """The same rectangle of the mask, each pixel the nearest class number."""

        def cut(mask_B1HW: Tensor) -> Tensor:
            return self._cut(mask_B1HW.float(), draw, mode="nearest").round().to(torch.uint8)

        return moved_mask(target, cut)

    def _cut(self, images_BCHW: Tensor, draw: Draw, *, mode: str) -> Tensor:
        area_B = draw.uniform("resized_crop.area", self.least, 1.0)
        low, high = (torch.tensor(aspect).log().item() for aspect in _ASPECTS)
        aspect_B = draw.uniform("resized_crop.aspect", low, high).exp()
        width_B, height_B = (area_B * aspect_B).sqrt().clamp(max=1.0), (area_B / aspect_B).sqrt().clamp(max=1.0)
        left_B = draw.uniform("resized_crop.left") * (1 - width_B)
        top_B = draw.uniform("resized_crop.top") * (1 - height_B)
        return _sampled(images_BCHW, left_B=left_B, top_B=top_B, width_B=width_B, height_B=height_B, mode=mode)


def _sampled(
    images_BCHW: Tensor, *, left_B: Tensor, top_B: Tensor, width_B: Tensor, height_B: Tensor, mode: str = "bilinear"
) -> Tensor:
    """Rectangles of images, in shares of their sides, brought to the size of the whole image."""
    height, width = images_BCHW.shape[2:]
    device = images_BCHW.device
    across_W = (torch.arange(width, device=device) + 0.5) / width
    down_H = (torch.arange(height, device=device) + 0.5) / height
    x_BW = 2 * (left_B[:, None] + across_W * width_B[:, None]) - 1
    y_BH = 2 * (top_B[:, None] + down_H * height_B[:, None]) - 1
    grid_BHW2 = torch.stack([x_BW[:, None, :].expand(-1, height, -1), y_BH[:, :, None].expand(-1, -1, width)], dim=3)
    return F.grid_sample(images_BCHW, grid_BHW2, mode=mode, padding_mode="border", align_corners=False)

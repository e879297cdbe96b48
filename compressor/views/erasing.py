"""Random erasing (Zhong et al. 2020, arXiv 1708.04896)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from compressor.views._contract import Effect
from compressor.views._pixels import ImageView, rectangles
from compressor.views._stream import Draw

_AREAS = (0.02, 0.33)
_ASPECTS = (0.3, 3.3)
_GREY = 0.5


class Erasing(ImageView):
    """A random rectangle of some images in mid-grey (Zhong et al. 2020).

    It takes 2 to 33 % of the area, its aspect ratio is log-uniform from 0.3 to 3.3.
    """

    order: ClassVar[int] = 60
    targets: ClassVar[Mapping[str, Effect]] = {}

    def __init__(self, *, chance: float = 0.0) -> None:
        """
        Args:
            chance: Of an image to lose a rectangle.
        """
        self.chance = chance

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        """The images without what was erased."""
        area_B = draw.uniform("erasing.area", *_AREAS)
        aspect_B = draw.uniform("erasing.aspect", math.log(_ASPECTS[0]), math.log(_ASPECTS[1])).exp()
        inside_BHW = rectangles(
            inputs,
            width_B=(area_B * aspect_B).sqrt().clamp(max=1.0),
            height_B=(area_B / aspect_B).sqrt().clamp(max=1.0),
            left_B=draw.uniform("erasing.left"),
            top_B=draw.uniform("erasing.top"),
        )
        inside_BHW = inside_BHW & draw.chance("erasing", self.chance)[:, None, None]
        value = round(_GREY * 255) if inputs.dtype == torch.uint8 else _GREY
        return inputs.masked_fill(inside_BHW[:, None], value)

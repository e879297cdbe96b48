"""Color jitter: random brightness, contrast and saturation, as in torchvision's `ColorJitter`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from compressor.views import _color
from compressor.views._contract import Effect
from compressor.views._pixels import ImageView, in_float
from compressor.views._stream import Draw


class ColorJitter(ImageView):
    """Random brightness, contrast and (of color images) saturation."""

    order: ClassVar[int] = 50
    targets: ClassVar[Mapping[str, Effect]] = {}

    def __init__(self, *, strength: float = 0.0) -> None:
        """
        Args:
            strength: Factors are uniform in 1 ± this, 0–1.
        """
        self.strength = strength

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        """Each image by its own factors."""
        return in_float(inputs, lambda images: self._jittered(images, draw))

    def _jittered(self, images_BCHW: Tensor, draw: Draw) -> Tensor:
        low, high = 1 - self.strength, 1 + self.strength
        images_BCHW = _color.brightness(images_BCHW, draw.uniform("jitter.brightness", low, high))
        images_BCHW = _color.contrast(images_BCHW, draw.uniform("jitter.contrast", low, high))
        if images_BCHW.shape[1] == 3:
            images_BCHW = _color.saturation(images_BCHW, draw.uniform("jitter.saturation", low, high))
        return images_BCHW

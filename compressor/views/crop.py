"""Crop out of a padded image (He et al. 2016, arXiv 1512.03385, section 4.2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from compressor.errors import DataError
from compressor.tensors import MASK, VALUES, TensorSpec
from compressor.views._contract import MOVED, UNSURE, Effect
from compressor.views._pixels import ImageView, moved_mask
from compressor.views._stream import CORNER_BITS, Draw


class Crop(ImageView):
    """A random window out of the zero-padded image (He et al. 2016, section 4.2)."""

    order: ClassVar[int] = 20
    targets: ClassVar[Mapping[str, Effect]] = {MASK: MOVED, VALUES: UNSURE}

    def __init__(self, *, pixels: int = 0) -> None:
        """
        Args:
            pixels: Of zeros on each side.
        """
        self.pixels = pixels

    def check(self, spec: TensorSpec) -> None:
        """Refuse a negative padding, and one as wide as the image; raises `DataError`."""
        height, width = spec.at({})[1:]
        if not 0 <= self.pixels < min(height, width):
            raise DataError(
                f"a crop out of {self.pixels} padded pixels does not suit images of {height} x {width}",
                where="data.views.crop",
                hint=f"write 0 to {min(height, width) - 1}, or auto",
            )

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        """Each sample's window: one gather over a view of all windows, nothing is copied twice."""
        pad, (height, width) = self.pixels, inputs.shape[2:]
        bits_B = draw.bits("")
        windows = (
            F.pad(inputs, (pad, pad, pad, pad)).unfold(2, height, 1).unfold(3, width, 1)
        )  # [B, C, 2p+1, 2p+1, H, W]
        rows_B = torch.arange(len(inputs), device=inputs.device)
        top_B = _offset(bits_B, choices=2 * pad + 1)
        left_B = _offset(bits_B >> CORNER_BITS, choices=2 * pad + 1)
        cropped: Tensor = windows[rows_B, :, top_B, left_B]
        return cropped

    def move(self, name: str, target: Tensor, draw: Draw) -> Tensor:
        """The mask's same window; what was padded counts for nothing."""
        return moved_mask(target, lambda mask: self(mask, draw))

    @classmethod
    def auto(cls, spec: TensorSpec, *, beside: Collection[str]) -> tuple[int, str]:
        """An eighth of the shorter side; nothing beside a resized crop."""
        if "resized_crop" in beside:
            return 0, "there is a resized crop"
        side = min(spec.at({})[1:])
        if side < 8:
            return 0, f"a side of {side} pixels is too short to lose any"
        return round(side / 8), f"an eighth of the side of {side} pixels, as 4 of 32 in He et al. 2016, section 4.2"

    @staticmethod
    def told(value: int) -> str:
        """With its unit."""
        return f"{value} px"


def _offset(bits_B: Tensor, *, choices: int) -> Tensor:
    """A number below `choices` from the low 21 bits; uneven by less than `choices` in two million."""
    offset_B: Tensor = ((bits_B & (2**CORNER_BITS - 1)) * choices) >> CORNER_BITS
    return offset_B

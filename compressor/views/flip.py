"""Mirrored left to right."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from compressor.tensors import MASK, VALUES, TensorSpec
from compressor.views._contract import MOVED, UNSURE, Effect
from compressor.views._pixels import ImageView, moved_mask
from compressor.views._stream import CORNER_BITS, Draw


class Flip(ImageView):
    """Half of the samples mirrored left to right."""

    order: ClassVar[int] = 30
    targets: ClassVar[Mapping[str, Effect]] = {MASK: MOVED, VALUES: UNSURE}

    def __init__(self, *, on: bool = False) -> None:
        """
        Args:
            on: Whether they are.
        """
        self.on = on

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        """Decided by a bit of the word whose lower bits place a crop."""
        if not self.on:
            return inputs
        flipped_B = (draw.bits("") >> (2 * CORNER_BITS)) & 1
        return torch.where(flipped_B.bool()[:, None, None, None], inputs.flip(3), inputs)

    def move(self, name: str, target: Tensor, draw: Draw) -> Tensor:
        """The mask, mirrored with its picture."""
        return moved_mask(target, lambda mask: self(mask, draw))

    @classmethod
    def auto(cls, spec: TensorSpec, *, beside: Collection[str]) -> tuple[bool, str]:
        """On for color images."""
        if spec.shape[0] == 3:
            return True, "colour images: a mirrored object is the same object"
        return (
            False,
            f"with {spec.shape[0]} channel(s), images are often signs, and a mirrored digit is another sign",
        )

    @staticmethod
    def told(value: bool) -> str:
        """On or off."""
        return "on" if value else "off"

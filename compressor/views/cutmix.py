"""CutMix (Yun et al. 2019, arXiv 1905.04899) as a view; partner and rectangle belong to the view, as in `mixup`."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from compressor.tensors import TensorSpec
from compressor.views._beta import beta
from compressor.views._contract import MixingView
from compressor.views._pixels import is_image, rectangles
from compressor.views._stream import Draw


class CutMix(MixingView):
    """A rectangle of another sample pasted in, the rest from Beta(alpha, alpha) (Yun et al. 2019)."""

    order: ClassVar[int] = 210

    def __init__(self, *, alpha: float = 0.0) -> None:
        """
        Args:
            alpha: Of the distribution of the share that stays.
        """
        self.alpha = alpha

    def reads(self, spec: TensorSpec) -> bool:
        """Images of one size."""
        return is_image(spec)

    def weights(self, inputs: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """0 inside of the rectangle and 1 outside, `[B, 1, H, W]`; the share of the pixels outside, after rounding."""
        side_B = (1 - beta(draw.uniform("mixing.cutmix"), alpha=self.alpha)).sqrt()
        inside_BHW = rectangles(
            inputs,
            width_B=side_B,
            height_B=side_B,
            left_B=draw.uniform("mixing.left"),
            top_B=draw.uniform("mixing.top"),
        )
        return (~inside_BHW)[:, None].float(), 1 - inside_BHW.float().mean(dim=(1, 2))

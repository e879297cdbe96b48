"""mixup (Zhang et al. 2018, arXiv 1710.09412) as a view.

Partner and share belong to the view: which of all training samples a sample is mixed with, and how much of it, follows from
seed, view and sample, not from the batch they happen to meet in. So a teacher's answer to a mixed sample can be kept.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from compressor.tensors import TensorSpec
from compressor.views._beta import beta
from compressor.views._contract import MixingView
from compressor.views._pixels import is_image
from compressor.views._stream import Draw


class Mixup(MixingView):
    """Each sample mixed with another one, its share from Beta(alpha, alpha) (Zhang et al. 2018)."""

    order: ClassVar[int] = 220
    wants: ClassVar[str] = "only numbers of one input can be mixed"

    def __init__(self, *, alpha: float = 0.0) -> None:
        """
        Args:
            alpha: Of the distribution; larger mixes more evenly.
        """
        self.alpha = alpha

    def reads(self, spec: TensorSpec) -> bool:
        """Images, and numbers of any shape."""
        return is_image(spec) or spec.dtype == "float32"

    def weights(self, inputs: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """One weight for all numbers of a sample, which is its share."""
        own_B = beta(draw.uniform("mixing.mixup"), alpha=self.alpha)
        return own_B.view(-1, *[1] * (inputs.dim() - 1)), own_B

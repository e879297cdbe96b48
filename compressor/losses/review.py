"""Knowledge review: Chen et al. 2021 (arXiv 2104.09044), sections 3.2 to 3.4."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressor.errors import InputError, ModelError
from compressor.losses._contract import Context
from compressor.losses._features import FeatureLoss, width_of
from compressor.tensors import Batch, Outputs

_WIDEST = 512
_LEVELS = (4, 2, 1)


class Review(FeatureLoss):
    """Each stage of the teacher is taught to that stage of the student and all deeper ones, fused (Chen et al. 2021).

        scale · Σ over stages of HCL(fused student, teacher)

    From the deepest stage to the shallowest, an attention-based fusion (their section 3.4, figure 4a) brings the student's
    feature to a common width, blends it with what came from the deeper stages by two learned maps, and projects the blend
    to the teacher's width; the blend is handed on. The hierarchical context loss (figure 4b) is the mean square of the
    difference, and half, a quarter and an eighth of that after averaging to 4×4, 2×2 and 1×1, over the sum of these weights.
    Levels that are not smaller than the feature are left out, as in the authors' code. Tokens are taken as a map of one
    column. The fusions are trained along and never exported.

    The authors raise the weight linearly over the first epochs: write the weight as a ramp.

    Args:
        pairs: auto, or a list of [student module, teacher module] from shallow to deep
        scale: the loss times this; theirs is 0.6 to 5 on CIFAR-100
        width: channels in which stages are blended; 0: those of the student's deepest stage, 512 at most

    Raises:
        InputError: width is negative.
    """

    needs = ("features",)

    def __init__(self, *, pairs: str | Sequence[Sequence[str]] = "auto", scale: float = 1.0, width: int = 0) -> None:
        super().__init__(pairs, scale=scale)
        if width < 0:
            raise InputError(f"width = {width} must not be negative", where="review.width")
        self._width, self._padded = width, False
        self.fusions = nn.ModuleList()

    def prepare(self, context: Context) -> None:
        """Learn whether tokens may be padding."""
        self._padded = context.padded

    def build(self, shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
        """A fusion for each pair; the deepest one has nothing to blend with.

        Raises:
            ModelError: Features are tokens of samples that differ in length.
        """
        if self._padded and any(len(shape) == 3 for pair in shapes for shape in pair):
            told = "'review' blends neighboring tokens and normalizes over the batch, so padding would count"
            raise ModelError(told, where="distill.losses", hint="take fitnet, rkd or minilm, which leave padding out")
        width = self._width or min(_WIDEST, width_of(shapes[-1][0]))
        self.fusions = nn.ModuleList(
            _Fusion(width_of(mine), width, width_of(theirs), blends=index < len(shapes) - 1)
            for index, (mine, theirs) in enumerate(shapes)
        )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """The sum above; gradients flow to the student and to the fusions."""
        total = student.logits.new_zeros((), dtype=torch.float32)
        deeper: Tensor | None = None
        for (mine, theirs), fusion in zip(reversed(self.pairs), reversed(self.fusions), strict=True):
            target = _as_map(teacher.features[theirs].float().detach())
            fused, deeper = fusion(_as_map(student.features[mine].float()), deeper, target.shape[2:])
            total = total + _hierarchical(fused, target)
        return self.scale * total


class _Fusion(nn.Module):
    """Attention-based fusion: a stage of the student with what the deeper ones have given."""

    def __init__(self, source: int, width: int, target: int, *, blends: bool) -> None:
        super().__init__()
        self.narrow = nn.Sequential(nn.Conv2d(source, width, 1, bias=False), nn.BatchNorm2d(width))
        self.widen = nn.Sequential(nn.Conv2d(width, target, 3, padding=1, bias=False), nn.BatchNorm2d(target))
        self.shares = nn.Conv2d(2 * width, 2, 1) if blends else None
        for convolution in (self.narrow[0], self.widen[0]):
            assert isinstance(convolution, nn.Conv2d)
            nn.init.kaiming_uniform_(convolution.weight, a=1)

    def forward(self, own: Tensor, deeper: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """What is compared, and what is handed on to the next shallower stage; both of the teacher's height and width."""
        blend = self.narrow(own)
        if self.shares is not None and deeper is not None:
            deeper = F.interpolate(deeper, blend.shape[2:], mode="nearest")
            shares_B2HW = self.shares(torch.cat([blend, deeper], dim=1)).sigmoid()
            blend = blend * shares_B2HW[:, :1] + deeper * shares_B2HW[:, 1:]
        if blend.shape[2:] != size:
            blend = F.interpolate(blend, size, mode="nearest")
        return self.widen(blend), blend


def _hierarchical(student: Tensor, teacher: Tensor) -> Tensor:
    """Hierarchical context loss of two maps of one shape."""
    loss, weight, total = F.mse_loss(student, teacher), 1.0, 1.0
    height, width = student.shape[2:]
    for level in _LEVELS:
        if level >= height:
            continue
        weight /= 2
        total += weight
        size = (level, min(level, width))
        loss = loss + weight * F.mse_loss(F.adaptive_avg_pool2d(student, size), F.adaptive_avg_pool2d(teacher, size))
    return loss / total


def _as_map(feature: Tensor) -> Tensor:
    """`[B, C, H, W]`; tokens `[B, L, D]` as `[B, D, L, 1]`, a vector `[B, D]` as `[B, D, 1, 1]`."""
    if feature.dim() == 3:
        return feature.transpose(1, 2)[..., None]
    return feature[:, :, None, None] if feature.dim() == 2 else feature

"""Pearson knowledge distillation: Cao et al. 2022 (arXiv 2207.02039), equations 4 and 5."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from compressor.losses._features import FeatureLoss, aligned, projectors_where_widths_differ, require_same_places


class PKD(FeatureLoss):
    """The same pattern in each channel, whatever its mean and spread (Cao et al. 2022).

        ½ · mean of (z(teacher) − z(student))²,   z: zero mean and unit deviation of each channel over batch and places

    Their equation 5 with the mean for the sum; it is 1 − ρ, Pearson's correlation of the two channels, mean over channels
    (equation 4), so it lies between 0 and 2. Scale and offset of features, which differ between kinds of networks, are left
    out. Where the widths differ, a 1×1 convolution brings the student's features to the teacher's.

    Args:
        pairs: auto, or a list of [student module, teacher module]
        scale: the loss times this; the paper's own weights are 6 to 20 for detectors
    """

    needs = ("features",)
    most_pairs = 3

    def __init__(self, *, pairs: str | Sequence[Sequence[str]] = "auto", scale: float = 6.0) -> None:
        super().__init__(pairs, scale=scale)
        self.projectors = nn.ModuleList()

    def build(self, shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
        """A projector for each pair of different widths.

        Raises:
            ModelError: A pair has no places in common.
        """
        require_same_places(self.pairs, shapes)
        self.projectors = projectors_where_widths_differ(shapes)

    def compare(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair, a scalar."""
        mine, theirs = (_normalized(each) for each in aligned(self.projectors[index](student), teacher))
        return 0.5 * (mine - theirs).square().mean()


# The authors divide by the deviation plus 1e-6; under the root, the gradient of constant channels stays finite.
_FLOOR = 1e-6


def _normalized(feature: Tensor) -> Tensor:
    """Zero mean and unit deviation of each channel, over batch and places."""
    axes = (0, 2, 3) if feature.dim() == 4 else tuple(range(feature.dim() - 1))
    centered = feature - feature.mean(dim=axes, keepdim=True)
    return centered / (centered.square().mean(dim=axes, keepdim=True) + _FLOOR**2).sqrt().clamp_min(_FLOOR)

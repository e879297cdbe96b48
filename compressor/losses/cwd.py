"""Channel-wise distillation: Shu et al. 2021 (arXiv 2011.13256), equations 3 to 5."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from compressor.errors import InputError, ModelError
from compressor.losses._features import (
    FeatureLoss,
    Shapes,
    aligned,
    projectors_where_widths_differ,
    require_same_places,
)
from compressor.tensors import Batch, Outputs


class CWD(FeatureLoss):
    """Where in the image each channel is active, rather than how much (Shu et al. 2021).

        T² / C · Σ over channels of KL(teacher_c ‖ student_c),   x_c = softmax over the places of channel c at T

    Mean over the batch. With `pairs = "logits"` the channels are the classes of the logits of each pixel, for which the
    paper uses T = 4 and a weight of 3; else features are compared, a 1×1 convolution bringing the student's to the teacher's
    width where the widths differ, for which it uses a weight of 50. Pixels that count for nothing are compared as well: the
    teacher tells something of them.

    Args:
        pairs: logits, auto, or a list of [student module, teacher module]
        temperature: T, above 0; larger compares wider regions
        scale: the loss times this; the default is the paper's weight of logits (50 of features)

    Raises:
        InputError: temperature is not above 0, or `pairs` is no list of pairs.
    """

    needs = ("features if pairs != 'logits'", "maps if pairs == 'logits'")
    most_pairs = 1

    def __init__(
        self, *, pairs: str | Sequence[Sequence[str]] = "auto", temperature: float = 4.0, scale: float = 3.0
    ) -> None:
        super().__init__("auto" if pairs == "logits" else pairs, scale=scale)
        if not temperature > 0:
            raise InputError(f"temperature = {temperature} must be above 0", where="cwd.temperature")
        self.temperature = temperature
        self.of_logits = pairs == "logits"
        self.projectors = nn.ModuleList()

    @property
    def on_modules(self) -> bool:
        """Whether it looks inside of the networks, rather than at their outputs."""
        return not self.of_logits

    def settle(self, student: Shapes, teacher: Shapes) -> str:
        """The pairs; nothing where logits are compared."""
        return "the logits of each pixel" if self.of_logits else super().settle(student, teacher)

    def build(self, shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
        """A projector for each pair of different widths.

        Raises:
            ModelError: A pair has no places in common.
        """
        require_same_places(self.pairs, shapes)
        self.projectors = projectors_where_widths_differ(shapes)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """The loss above, a scalar.

        Raises:
            ModelError: Logits are to be compared, and they are no maps.
        """
        if not self.of_logits:
            return super().forward(student, teacher, batch)
        if student.logits.dim() != 4:
            raise ModelError(
                f"the outputs are {list(student.logits.shape)} and have no places",
                where="cwd.pairs",
                hint='leave out pairs = "logits": features are compared',
            )
        theirs = teacher.logits.float().detach()
        return self.scale * _channel_divergence(student.logits.float(), theirs, temperature=self.temperature)

    def compare(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair, a scalar."""
        return _channel_divergence(*aligned(self.projectors[index](student), teacher), temperature=self.temperature)

    def compare_tokens(self, index: int, student: Tensor, teacher: Tensor, *, there_BL: Tensor) -> Tensor:
        """The same over the tokens that are there."""
        gone_BL1 = ~there_BL[..., None]
        mine, theirs = (each.masked_fill(gone_BL1, _NOWHERE) for each in (self.projectors[index](student), teacher))
        return _channel_divergence(mine, theirs, temperature=self.temperature)


_NOWHERE = -1e6  # its share of a softmax is 0 in float32 at every temperature in use, and the difference of two no NaN


def _channel_divergence(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) of softmaxes over places, mean over samples and channels.

    Args:
        student: Maps `[B, C, H, W]`, or tokens `[B, L, D]`, whose channels are D.
        teacher: Likewise.
        temperature: T.
    """
    if student.dim() == 3:
        student, teacher = student.transpose(1, 2), teacher.transpose(1, 2)
    mine_BCP = (student.flatten(2) / temperature).log_softmax(dim=2)
    theirs_BCP = (teacher.flatten(2) / temperature).log_softmax(dim=2)
    divergence_BC = (theirs_BCP.exp() * (theirs_BCP - mine_BCP)).sum(dim=2)
    found: Tensor = temperature**2 * divergence_BC.mean()
    return found

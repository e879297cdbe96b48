"""Adversarial distillation of features: Belagiannis et al. 2018 (arXiv 1803.10750), section 3."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from compressor.losses._discriminator import Design
from compressor.losses._features import FeatureLoss, embedded, projector, width_of


class AdversarialFeatures(FeatureLoss):
    """Features are to be taken for the teacher's by a discriminator that learns along (Belagiannis et al. 2018).

        scale · softplus(−D(projector(student)))

    Features are averaged over their places, as the paper's are. It brings widths together by the networks themselves; here a
    projector is trained along where they differ. The discriminator is that of `adversarial`, with the same precautions:
    a penalty on its slope for the paper's own regularisation, a small learning rate of its own, a warm-up. Its state is kept
    with that of the run, and with several processes its gradients are averaged.

    Args:
        pairs: auto (the deepest stage), or a list of [student module, teacher module]
        scale: the loss times this
        hidden: width of the discriminator's two hidden layers
        lr: learning rate of the discriminator
        penalty: weight of the penalty on its slope (R1)
        warmup: steps over which the loss grows to the whole

    Raises:
        InputError: An option out of range.
    """

    needs = ("features",)
    most_pairs = 1
    any_kind = True

    def __init__(
        self,
        *,
        pairs: str | Sequence[Sequence[str]] = "auto",
        scale: float = 0.1,
        hidden: int = 128,
        lr: float = 2e-4,
        penalty: float = 1.0,
        warmup: int = 500,
    ) -> None:
        super().__init__(pairs, scale=scale)
        self._design = Design("adversarial_features", hidden=hidden, lr=lr, penalty=penalty, warmup=warmup)
        self.projectors, self.discriminators = nn.ModuleList(), nn.ModuleList()

    def build(self, shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
        """A projector and a discriminator for each pair."""
        widths = [(width_of(mine), width_of(theirs)) for mine, theirs in shapes]
        self.projectors = nn.ModuleList(
            nn.Identity() if mine == theirs else projector((2, mine), (2, theirs)) for mine, theirs in widths
        )
        self.discriminators = nn.ModuleList(self._design.built(theirs) for _, theirs in widths)

    def compare(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair, a scalar; its discriminator makes a step of its own."""
        mine_BF, theirs_BF = self.projectors[index](embedded(student)), embedded(teacher)
        judged: Tensor = self.discriminators[index](mine_BF, theirs_BF)
        return judged

"""Adversarial distillation of answers: Xu et al. 2018 (arXiv 1709.00513), section 3."""

from __future__ import annotations

from torch import Tensor, nn

from compressor.losses._contract import Context
from compressor.losses._discriminator import Design, Discriminator
from compressor.losses._logits import require, with_labels
from compressor.losses._together import require_whole_batches
from compressor.tensors import Batch, Outputs


class Adversarial(nn.Module):
    """The student's logits are to be taken for the teacher's by a discriminator that learns along (Xu et al. 2018).

        beta · softplus(−D(student))  +  l1 · mean |student − teacher|  +  hard · hard loss

    The discriminator compares what answers look like over the batch, whichever sample they belong to; the L1 term ties each
    to its sample. Of the paper's discriminator the part that also names the class is left out. What keeps the game stable
    is ours: a penalty on the discriminator's slope, a small learning rate of its own (the schedule does not change it), and
    a warm-up. It is trained inside of this loss, and its state is kept with that of the run. With several processes its
    gradients are averaged, so that all hold the same one.

    Args:
        beta: weight of the adversarial part
        l1: weight of the L1 distance
        hard: weight of the loss against the labels
        hidden: width of the discriminator's two hidden layers
        lr: learning rate of the discriminator
        penalty: weight of the penalty on its slope (R1)
        warmup: steps over which the adversarial part grows to the whole

    Raises:
        InputError: An option out of range.
    """

    needs = ("rows", "labels if hard > 0")

    def __init__(
        self,
        *,
        beta: float = 0.1,
        l1: float = 0.1,
        hard: float = 1.0,
        hidden: int = 128,
        lr: float = 2e-4,
        penalty: float = 1.0,
        warmup: int = 500,
    ) -> None:
        super().__init__()
        require("adversarial", at_least_zero={"beta": beta, "l1": l1, "hard": hard})
        self.beta, self.l1, self.hard = beta, l1, hard
        self._design = Design("adversarial", hidden=hidden, lr=lr, penalty=penalty, warmup=warmup)
        self.discriminator: Discriminator | None = None

    def prepare(self, context: Context) -> None:
        """Build a discriminator of answers of this width."""
        self.discriminator = self._design.built(context.outputs)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """The loss above, a scalar; the discriminator makes a step of its own."""
        assert self.discriminator is not None, "prepare comes first"
        require_whole_batches(batch, where="adversarial")
        mine_MK = _in_rows(student.logits.float())
        theirs_MK = _in_rows(teacher.logits.float().detach())
        soft = self.l1 * (mine_MK - theirs_MK).abs().mean()
        if self.beta:
            soft = soft + self.beta * self.discriminator(mine_MK, theirs_MK)
        return with_labels(soft, student, batch, hard=self.hard)


def _in_rows(logits: Tensor) -> Tensor:
    """A row of K logits for each sample, or for each place of maps `[B, K, ...]`."""
    return logits if logits.dim() == 2 else logits.movedim(1, -1).flatten(0, -2)

"""What a loss is: it compares the student's answer to a batch with the teacher's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor

from compressor.tensors import Batch, Outputs


class Loss(Protocol):
    """Compares two answers to a batch.

    A loss with trainable parts of its own (a projector, a discriminator) is an `nn.Module`; its parameters are trained
    along and never exported, its state is kept with that of the run. One that reads features is a
    `_features.FeatureLoss`: it is told their shapes before training. One that must know more is `Prepared`. One that must
    have something of the task, the teacher or the data says so in its class, in the words of `recipe.capabilities`:
    `needs = ("rows:softmax", "labels if hard > 0")`. Where they do not give it, the recipe is refused.
    """

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """A scalar, mean over the batch. Gradients flow to the student only.

        Args:
            student: The student's answer, `logits_BK`.
            teacher: The teacher's answer to the same inputs; never carries gradients.
            batch: The inputs, labels and the task that says what outputs mean.
        """
        ...


@dataclass(frozen=True)
class Context:
    """What is known of a run before its first step.

    Attributes:
        labels: `[N]` of every training sample, in the order that `Batch.sample_ids` counts; below 0: it has none.
        outputs: How many numbers the student answers to one sample.
        student_heads: Attention heads of each module of the student that has some, by dotted path.
        teacher_heads: Likewise.
        padded: Whether samples differ in length, so that batches hold tokens that stand for nothing.
    """

    labels: Tensor
    outputs: int
    student_heads: Mapping[str, int] = field(default_factory=dict)
    teacher_heads: Mapping[str, int] = field(default_factory=dict)
    padded: bool = False


@runtime_checkable
class Prepared(Protocol):
    """A loss that is told about the run before it begins, on the CPU, and builds what it needs for that."""

    def prepare(self, context: Context) -> None:
        """Take what is needed of `context`; called once, before `FeatureLoss.settle`."""
        ...

"""What a loss is: it compares the student's answer to a batch with the teacher's."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from compressor.batch import Batch, Outputs


class Loss(Protocol):
    """Compares two answers to a batch.

    A loss with trainable parts of its own (a projector, a discriminator) is an `nn.Module`; its parameters are trained
    along and never exported. One that reads features is a `_features.FeatureLoss`: it is told their shapes before training.
    """

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """A scalar, mean over the batch. Gradients flow to the student only.

        Args:
            student: The student's answer, `logits_BK`.
            teacher: The teacher's answer to the same inputs; never carries gradients.
            batch: The inputs, labels and the task that says what outputs mean.
        """
        ...

"""The loss that needs no teacher."""

from __future__ import annotations

from torch import Tensor

from compressor.tensors import Batch, Outputs


class Hard:
    """The task's own loss against the labels; no teacher is asked."""

    needs = ("labels",)

    def __call__(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Mean over the batch of the task's loss against the targets, mixed as the batch is."""
        return batch.hard_loss(student)

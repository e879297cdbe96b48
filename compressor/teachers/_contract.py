"""What a teacher is: whatever answers "what should the student say about this batch?"."""

from __future__ import annotations

from typing import Protocol

import torch

from compressor.batch import Batch, Outputs


class Teacher(Protocol):
    """Answers batches.

    Attributes:
        gives_features: Whether answers hold the features of tapped modules.
        needs_labels: Whether an answer depends on the labels.
        trainable: Whether it learns along with the student.
    """

    gives_features: bool
    needs_labels: bool
    trainable: bool

    def answer(self, batch: Batch) -> Outputs:
        """What the student should say; carries no gradients unless `trainable`."""
        ...

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        """Move to where the batches are."""
        ...

"""What a teacher is: whatever answers "what should the student say about this batch?"."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from compressor.batch import Batch, Outputs


class Teacher(Protocol):
    """Answers batches.

    Attributes:
        gives_features: Whether answers hold the features of tapped modules.
        needs_labels: Whether an answer depends on the labels.
        trainable: Whether it learns along with the student.
        keeps_answers: Whether an answer to a view that it has seen costs nothing more.
        asked: Samples it has answered by computing so far.
        network: The module that computes its answers and may be compiled; None when there is no single one.
    """

    gives_features: bool
    needs_labels: bool
    trainable: bool
    keeps_answers: bool

    @property
    def asked(self) -> int:
        """See above."""
        ...

    @property
    def network(self) -> nn.Module | None:
        """See above."""
        ...

    def answer(self, batch: Batch) -> Outputs:
        """What the student should say; carries no gradients unless `trainable`."""
        ...

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        """Move to where the batches are."""
        ...

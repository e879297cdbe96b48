"""The teacher of a network that learns from the labels alone."""

from __future__ import annotations

import torch

from compressor.batch import Batch, Outputs


class NoTeacher:
    """No teacher: the network learns from the labels alone (how teachers and controls are trained)."""

    gives_features = False
    needs_labels = False
    trainable = False
    keeps_answers = False
    asked = 0
    network = None

    def answer(self, batch: Batch) -> Outputs:
        """An empty answer, for losses that ask no teacher."""
        return Outputs(logits=batch.inputs.new_empty((len(batch.labels), 0)))

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        """Nothing to move."""

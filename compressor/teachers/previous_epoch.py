"""Progressive self-distillation: Kim et al. 2021 (arXiv 2006.12000), equations 3 to 5."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from compressor.artifact import Decision
from compressor.models.network import Network
from compressor.teachers._contract import Lesson, Teacher
from compressor.tensors import Batch, Outputs

if TYPE_CHECKING:
    from compressor.tensors import Inputs


class PreviousEpoch(Teacher):
    """No other network: the student as it was after its last epoch (PS-KD, Kim et al. 2021).

    In the first epoch there is no last one, and the labels alone teach. The paper mixes labels and answers as
    (1 − α_t) · y + α_t · p_{t−1}, with α_t growing linearly from 0 (their equation 5): that is `kd` at a temperature of
    1 with `alpha = {start = 0, end = 0.8}`.
    """

    needs = ("labels",)
    gives = ("changing",)
    parts: _Snapshot
    usual: ClassVar[Mapping[str, Any]] = {"name": "kd", "temperature": 1.0, "alpha": {"start": 0.0, "end": 0.8}}

    def meet(self, student: Network, inputs: Inputs) -> tuple[Decision, ...]:
        """Take the first picture of the student, which is not shown before it has learnt for an epoch."""
        self.student = student
        self.parts = _Snapshot(student)
        return (Decision("teacher", "the student after its last epoch", "no other network was given"),)

    def lessons(self, batch: Batch, student: Outputs) -> Sequence[Lesson]:
        """The labels alone in the first epoch, then what the student said an epoch ago."""
        if not bool(self.parts.epochs):
            return (Lesson(student, None, batch),)
        return (Lesson(student, self.answer(batch), batch),)

    def answer(self, batch: Batch) -> Outputs:
        """The logits of the student as it was."""
        with torch.no_grad():
            output = self.parts.network(batch.call)
        self.asked += len(batch)
        return Outputs.of(output).detached()

    def after_epoch(self, *, epoch: int) -> None:
        """The student of now is what the next epoch learns from."""
        self.parts.network.load_state_dict(self.student.state_dict())
        self.parts.epochs.fill_(epoch + 1)


class _Snapshot(nn.Module):
    epochs: Tensor

    def __init__(self, student: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).eval().requires_grad_(False)
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))

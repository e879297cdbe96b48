"""The mean teacher: Tarvainen and Valpola 2017 (arXiv 1703.01780), section 2, equation 1 and the one after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from compressor.artifact import Decision
from compressor.errors import InputError
from compressor.models.averaged import AveragedWeights
from compressor.models.network import Network
from compressor.teachers._contract import Teacher
from compressor.tensors import Batch, Outputs

if TYPE_CHECKING:
    from compressor.tensors import Inputs


class MeanTeacher(Teacher):
    """No other network: a running average of the student's weights (mean teacher, Tarvainen & Valpola 2017).

    Most useful where many samples have no label. The average forgets its beginning: its decay is min(decay, (1 + t) /
    (10 + t)) after step t. BatchNorm's own statistics are copied. Their consistency cost (equation 1, squared error of
    probabilities) is one choice; `kd` at a temperature of 1 is another. Let the weight of the loss grow, as they do:
    `weight = {end = 1, until = 0.2}`.

    Args:
        decay: share of the average that stays at each step

    Raises:
        InputError: decay does not lie between 0 and 1.
    """

    needs = ("labels",)
    gives = ("changing",)
    parts: nn.Module
    usual: ClassVar[Mapping[str, Any]] = {
        "name": "kd",
        "temperature": 1.0,
        "alpha": {"start": 0.0, "end": 0.5, "until": 0.3},
    }

    def __init__(self, *, decay: float = 0.999) -> None:
        if not 0 < decay < 1:
            raise InputError(f"decay = {decay} must lie between 0 and 1", where="ema.decay")
        self.decay = decay

    def meet(self, student: Network, inputs: Inputs) -> tuple[Decision, ...]:
        """Begin the average with the student as it is."""
        self.student = student
        self.average = AveragedWeights(student, decay=self.decay)
        self.parts = self.average.network
        return (Decision("teacher", "an average of the student's weights", "no other network was given"),)

    def answer(self, batch: Batch) -> Outputs:
        """The logits of the averaged network."""
        with torch.no_grad():
            output = self.parts(batch.call)
        self.asked += len(batch)
        return Outputs.of(output).detached()

    def after_step(self, *, step: int) -> None:
        """Take the new weights in."""
        self.average.update(self.student, step=step)

"""Class-wise self-distillation: Yun et al. 2020 (arXiv 2003.13964), equations 2 and 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from compressor.artifact import Decision
from compressor.data.samples import Samples, class_groups
from compressor.models.network import Network
from compressor.teachers._contract import Pairing, Showing, Teacher
from compressor.tensors import Batch, Outputs

if TYPE_CHECKING:
    from compressor.tensors import Inputs


class SameClass(Teacher):
    """No other network: what the student says of another sample of the same class (CS-KD, Yun et al. 2020).

    Every sample x is paired with another x' of its label, drawn anew in each epoch; the target is softmax(f(x') / T)
    without gradients (their equation 2), so that answers within a class come closer. A step costs a forward pass more.
    A sample that is alone in its class, or has no label, is paired with itself.

    Args:
        samples: the training samples, for their labels
        seed: of the pairs
    """

    needs = ("labels", "one_class or rows:sigmoid")
    gives = ("changing",)
    usual: ClassVar[Mapping[str, Any]] = {"name": "kd", "temperature": 4.0, "alpha": 0.5}

    def __init__(self, samples: Samples, *, seed: int = 0) -> None:
        self.labels: NDArray[np.int64] = class_groups(samples)
        self.seed = seed
        order = np.argsort(self.labels, kind="stable")
        self._of_label = {
            int(label): order[self.labels[order] == label] for label in np.unique(self.labels) if label >= 0
        }
        self._others: Batch | None = None

    def meet(self, student: Network, inputs: Inputs) -> tuple[Decision, ...]:
        """Remember whom to ask."""
        self.student = student
        return (Decision("teacher", "the student, of another sample of the class", "no other network was given"),)

    def pairing(self) -> Pairing:
        """Each sample beside another one of its class."""
        return self.partners

    def partners(self, positions: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Another sample of the class of each one: a pure function of seed, epoch and sample."""
        paired = positions.copy()
        for row, position in enumerate(positions):
            members = self._of_label.get(int(self.labels[position]))
            if members is not None and len(members) > 1:
                generator = np.random.default_rng([self.seed, epoch, int(position)])
                own = int(np.flatnonzero(members == position)[0])
                paired[row] = members[(own + 1 + generator.integers(len(members) - 1)) % len(members)]
        return paired

    def shown(self, showing: Showing) -> Batch:
        """The batch as it is; its partners are kept for the answer."""
        assert showing.partners is not None
        self._others = showing.partners()
        return showing.batch

    def answer(self, batch: Batch) -> Outputs:
        """What the student says now of the partner of each sample."""
        assert self._others is not None
        with torch.no_grad():
            output = self.student(self._others.call)
        self.asked += len(batch)
        return Outputs.of(output).detached()

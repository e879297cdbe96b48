"""Deep mutual learning: Zhang et al. 2018 (arXiv 1706.00384), equations 4 to 8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from compressor.artifact import Decision
from compressor.models.network import Network
from compressor.teachers._contract import Lesson, Teacher
from compressor.tensors import Batch, Outputs

if TYPE_CHECKING:
    from compressor.tensors import Inputs


class Peers(Teacher):
    """Networks that learn along and from one another (deep mutual learning, Zhang et al. 2018).

    Every network learns from the labels and from each other one's answers, 1 / (K − 1) each of K networks (their
    equation 8). All are trained in the same step by the same optimiser; the student alone is kept. Without named peers
    there is one, of the student's own architecture, which begins with other weights.

    Args:
        peers: untrained networks
    """

    needs = ("labels",)
    gives = ("changing",)
    parts: nn.ModuleList
    usual: ClassVar[Mapping[str, Any]] = {"name": "kd", "temperature": 1.0, "alpha": 0.5}

    def __init__(self, peers: Sequence[Network]) -> None:
        self.parts = nn.ModuleList(peer.requires_grad_(True) for peer in peers)

    def meet(self, student: Network, inputs: Inputs) -> tuple[Decision, ...]:
        """Peers begin with the student."""
        self.parts.train()
        count = len(self.parts)
        return (
            Decision("teacher", f"{count} peer{'s' if count > 1 else ''}", "trained along, and dropped at the end"),
        )

    def answer(self, batch: Batch) -> Outputs:
        """What the first peer says now."""
        return Outputs.of(self.parts[0](batch.call)).detached()

    def lessons(self, batch: Batch, student: Outputs) -> Sequence[Lesson]:
        """Everybody learns from everybody else."""
        all_of_them = [student, *(Outputs.of(peer(batch.call)) for peer in self.parts)]
        self.asked += len(batch) * len(self.parts)
        names = ["", *(f"peer{number}" for number in range(1, len(all_of_them)))]
        share = 1 / len(self.parts)
        return [
            Lesson(learner, other.detached(), batch, name, share)
            for name, learner in zip(names, all_of_them, strict=True)
            for other in all_of_them
            if other is not learner
        ]

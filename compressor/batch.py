"""What passes between data, networks, teachers and losses: a batch and the answers to it.

Shape letters used throughout: B batch, K classes (or outputs), C channels, H height, W width, N samples of a set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class TaskInBatch(Protocol):
    """The part of a task that a loss may ask for."""

    def hard_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss against the labels alone; a scalar, mean over the batch."""
        ...

    def decisions(self, logits: Tensor) -> Tensor:
        """Rows of decisions `[N, K]` that logit losses compare."""
        ...


@dataclass(frozen=True)
class Batch:
    """One batch as a network sees it.

    Attributes:
        inputs: `[B, C, H, W]` pixels in 0–1 (or `[B, F]` features), before the network's own normalisation.
        labels: `[B]` class indices (what the task says they are).
        sample_ids: `[B]` position of each sample in its split; what a teacher cache and a view are keyed by.
        view: Number of the view that `inputs` shows; -1 for the plain, unaugmented sample.
        task: What the outputs mean.
    """

    inputs: Tensor
    labels: Tensor
    sample_ids: Tensor
    view: int
    task: TaskInBatch


@dataclass(frozen=True)
class Outputs:
    """What a network or a teacher answers to a batch.

    Attributes:
        logits: `[B, K]` for classification; the raw output of the network.
        features: Output of each tapped module, by its dotted path.
    """

    logits: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)

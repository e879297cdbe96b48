"""What passes between data, networks, teachers and losses: a batch and the answers to it.

Shape letters used throughout: B batch, K classes (or outputs), C channels, H height, W width, N samples of a set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class TaskInBatch(Protocol):
    """The part of a task that a loss may ask for."""

    def hard_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss against the labels alone; a scalar, mean over the batch."""
        ...

    def hard_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The same for each sample, `[B]`; what is weighted where samples are mixed."""
        ...

    def decisions(self, logits: Tensor) -> Tensor:
        """Rows of decisions `[N, K]` that logit losses compare."""
        ...


@dataclass(frozen=True)
class Mixed:
    """What each sample of a batch was mixed with (mixup, CutMix).

    Attributes:
        labels: `[B]`, of the partner.
        share: `[B]` float32 in 0–1, of the sample itself; the rest is the partner's.
        sample_ids: `[B]` position of the partner in its split, where it is known.
    """

    labels: Tensor
    share: Tensor
    sample_ids: Tensor | None = None

    def rows(self, rows: Tensor | slice) -> Mixed:
        """Some rows, by position."""
        ids = None if self.sample_ids is None else self.sample_ids[rows]
        return Mixed(self.labels[rows], self.share[rows], ids)

    def joined(self, other: Mixed) -> Mixed:
        """These rows, then those of another; partners are known where both know theirs."""
        from torch import cat

        known = self.sample_ids is not None and other.sample_ids is not None
        ids = cat([self.sample_ids, other.sample_ids]) if known else None  # type: ignore[list-item]
        return Mixed(cat([self.labels, other.labels]), cat([self.share, other.share]), ids)


@dataclass(frozen=True)
class Batch:
    """One batch as a network sees it.

    Attributes:
        inputs: `[B, C, H, W]` pixels in 0–1 (or `[B, F]` features), before the network's own normalisation.
        labels: `[B]` class indices (what the task says they are); below 0 for a sample that has none.
        sample_ids: `[B]` position of each sample in its split; what a teacher cache and a view are keyed by.
        view: Number of the view that `inputs` shows; -1 for the plain, unaugmented sample.
        task: What the outputs mean.
        mixed: What each sample was mixed with, where views mix.
        shared: Whether every process of the job has as many rows of the same batch, so that they can be compared.
    """

    inputs: Tensor
    labels: Tensor
    sample_ids: Tensor
    view: int
    task: TaskInBatch
    mixed: Mixed | None = None
    shared: bool = True

    def rows(self, rows: Tensor | slice, *, shared: bool = False) -> Batch:
        """Some rows of the batch, by position; `shared` says that every process takes as many."""
        return replace(
            self,
            shared=shared,
            inputs=self.inputs[rows],
            labels=self.labels[rows],
            sample_ids=self.sample_ids[rows],
            mixed=None if self.mixed is None else self.mixed.rows(rows),
        )

    def joined(self, other: Batch) -> Batch:
        """These rows, then those of another batch of the same kind; view and task are this one's."""
        from torch import cat

        both = self.mixed is not None and other.mixed is not None
        return replace(
            self,
            inputs=cat([self.inputs, other.inputs]),
            labels=cat([self.labels, other.labels]),
            sample_ids=cat([self.sample_ids, other.sample_ids]),
            mixed=self.mixed.joined(other.mixed) if both else self.mixed,  # type: ignore[union-attr, arg-type]
        )

    def hard_loss(self, logits: Tensor) -> Tensor:
        """The task's loss against the labels, a scalar; each label in its share where samples are mixed.

        Zhang et al. 2018 (mixup, arXiv 1710.09412) mix one-hot labels; for losses that are linear in the label, such as
        cross-entropy, that is the same as mixing the losses. It is the mean over samples that have a label (a class number
        below 0 is none), each in the share of its labels that it has; 0 where there is none.
        """
        if self._all_labelled():
            if self.mixed is None:
                return self.task.hard_loss(logits, self.labels)
            own_B = self.task.hard_losses(logits, self.labels)
            partner_B = self.task.hard_losses(logits, self.mixed.labels)
            return (self.mixed.share * own_B + (1 - self.mixed.share) * partner_B).mean()
        weight_B, loss_B = self._labelled(logits, self.labels)
        if self.mixed is not None:
            partners_B, partner_loss_B = self._labelled(logits, self.mixed.labels)
            share_B = self.mixed.share.to(loss_B.dtype)
            loss_B = share_B * loss_B + (1 - share_B) * partner_loss_B
            weight_B = share_B * weight_B + (1 - share_B) * partners_B
        total = weight_B.sum()
        return loss_B.sum() / total.where(total > 0, 1)

    def _all_labelled(self) -> bool:
        """Whether that is known at no cost: asking a GPU would wait for it."""
        given = [self.labels] if self.mixed is None else [self.labels, self.mixed.labels]
        if self.labels.is_floating_point():
            return True
        return self.labels.device.type == "cpu" and not any(bool((labels < 0).any()) for labels in given)

    def _labelled(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """1 for each sample that has a label and 0 for the others, and the loss of those that have one, `[B]` both."""
        known_B = (labels >= 0).reshape(len(labels), -1).all(dim=1)
        each_B = self.task.hard_losses(logits, labels.clamp_min(0))
        return known_B.to(each_B.dtype), each_B.where(known_B, 0)


@dataclass(frozen=True)
class Outputs:
    """What a network or a teacher answers to a batch.

    Attributes:
        logits: `[B, K]` for classification; the raw output of the network.
        features: Output of each tapped module, by its dotted path.
    """

    logits: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)

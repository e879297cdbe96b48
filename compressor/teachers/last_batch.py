"""Self-distillation from the last mini-batch: Shen et al. 2022 (arXiv 2203.16172), equations 3 and 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from compressor import processes
from compressor.artifact import Decision
from compressor.batch import Batch, Mixed, Outputs
from compressor.losses._together import gathered
from compressor.models.network import Network
from compressor.teachers._contract import Lesson, Showing, Teacher


class LastBatch(Teacher):
    """No other network: what the student said of the same samples one step ago (DLB, Shen et al. 2022).

    Each step shows the samples of the step before once more beside the new ones. The old ones learn from what was said of
    them then (their equation 4), the new ones from the labels. So every sample is shown twice and a step costs twice as
    much.
    """

    trainable = True
    parts: _Memory
    # With the half that old samples count, ½ CE + T² · KL beside the ½ CE of the new ones, as in the authors' code.
    usual: ClassVar[Mapping[str, Any]] = {"name": "kd", "temperature": 3.0, "alpha": 2 / 3, "weight": 3.0}

    def meet(self, student: Network, inputs: Tensor) -> tuple[Decision, ...]:
        """Begin with nothing to remember."""
        self.parts = _Memory()
        return (Decision("teacher", "the student one step ago", "no other network was given"),)

    def shown(self, showing: Showing) -> Batch:
        """The samples of the step before, then the new ones."""
        new, old = showing.batch, self.parts
        self._new = new
        if not len(old.labels):
            return new
        return old.as_batch(new).joined(new)

    def lessons(self, batch: Batch, student: Outputs) -> Sequence[Lesson]:
        """The old samples learn from what was said of them, the new ones from the labels."""
        seen = len(batch.labels) - len(self._new.labels)
        taught = Lesson(Outputs(student.logits[seen:]), None, self._new, "new", 0.5 if seen else 1.0)
        found = [taught]
        if seen:
            before = Outputs(self.parts.logits.to(student.logits.dtype))
            found.append(
                Lesson(Outputs(student.logits[:seen]), before, batch.rows(slice(0, seen), shared=True), "", 0.5)
            )
        self._said = student.logits[seen:].detach()
        return found

    def after_step(self, *, step: int) -> None:
        """Remember the new samples, and what was said of them."""
        self.parts.keep(self._new, self._said)

    def before_keeping(self) -> None:
        """Bring the shares of all processes together."""
        self.parts.bring_together()


class _Memory(nn.Module):
    """The last batch and the answers to it, in buffers that take any length when they are put back.

    Each process has its share; what is written is the whole batch, of which each takes its share again.
    """

    inputs: Tensor
    labels: Tensor
    sample_ids: Tensor
    logits: Tensor
    mixed_labels: Tensor
    mixed_share: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("inputs", "logits", "mixed_share"):
            self.register_buffer(name, torch.empty(0))
        for name in ("labels", "sample_ids", "mixed_labels"):
            self.register_buffer(name, torch.empty(0, dtype=torch.int64))
        self.together: dict[str, Tensor] = {}

    def keep(self, batch: Batch, logits: Tensor) -> None:
        self.inputs, self.labels, self.sample_ids = batch.inputs, batch.labels, batch.sample_ids
        self.logits = logits.float()
        if batch.mixed is not None:
            self.mixed_labels, self.mixed_share = batch.mixed.labels, batch.mixed.share

    def as_batch(self, like: Batch) -> Batch:
        """The last batch again, in view and task of another."""
        mixed = None if like.mixed is None else Mixed(self.mixed_labels, self.mixed_share)
        return replace(like, inputs=self.inputs, labels=self.labels, sample_ids=self.sample_ids, mixed=mixed)

    def bring_together(self) -> None:
        self.together = {name: gathered(rows) for name, rows in self.named_buffers(recurse=False) if len(rows)}

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination |= {prefix + name: rows for name, rows in self.together.items()}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in list(self.named_buffers(recurse=False)):
            given = state_dict.get(prefix + name)
            if given is not None:
                state_dict[prefix + name] = own = given[processes.rank() :: processes.world_size()]
                setattr(self, name, torch.empty_like(own, device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)

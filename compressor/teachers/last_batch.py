"""Self-distillation from the last mini-batch: Shen et al. 2022 (arXiv 2203.16172), equations 3 and 4."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from compressor import processes
from compressor.artifact import Decision
from compressor.losses._together import gathered
from compressor.models.network import Network
from compressor.teachers._contract import Lesson, Showing, Teacher
from compressor.tensors import Batch, Mixed, Outputs

if TYPE_CHECKING:
    from compressor.tensors import Inputs


class LastBatch(Teacher):
    """No other network: what the student said of the same samples one step ago (DLB, Shen et al. 2022).

    Each step shows the samples of the step before once more beside the new ones. The old ones learn from what was said of
    them then (their equation 4), the new ones from the labels. So every sample is shown twice and a step costs twice as
    much.
    """

    needs = ("labels",)
    gives = ("changing",)
    parts: _Memory
    # With the half that old samples count, ½ CE + T² · KL beside the ½ CE of the new ones, as in the authors' code.
    usual: ClassVar[Mapping[str, Any]] = {"name": "kd", "temperature": 3.0, "alpha": 2 / 3, "weight": 3.0}

    def meet(self, student: Network, inputs: Inputs) -> tuple[Decision, ...]:
        """Begin with nothing to remember."""
        self.parts = _Memory()
        return (Decision("teacher", "the student one step ago", "no other network was given"),)

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        """Move to where the batches are; what is put back later goes there as well."""
        super().to(device, memory_format)
        self.parts.device = device

    def shown(self, showing: Showing) -> Batch:
        """The samples of the step before, then the new ones."""
        new, old = showing.batch, self.parts
        self._new = new
        if not old.holds_some:
            return new
        return old.as_batch(new).joined(new)

    def lessons(self, batch: Batch, student: Outputs) -> Sequence[Lesson]:
        """The old samples learn from what was said of them, the new ones from the labels."""
        seen = len(batch) - len(self._new)
        said = student.rows(slice(seen, None))
        taught = Lesson(said, None, self._new, "new", 0.5 if seen else 1.0)
        found = [taught]
        if seen:
            before = Outputs(
                {name: tensor.to(student.tensors[name].dtype) for name, tensor in self.parts.part(_SAID).items()}
            )
            old = slice(0, seen)
            found.append(Lesson(student.rows(old), before, batch.rows(old, shared=True), "", 0.5))
        self._said = said.detached()
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

    def __init__(self) -> None:
        super().__init__()
        self.together: dict[str, Tensor] = {}
        self.device = torch.device("cpu")  # buffers are made with the first batch, which is after the move

    @property
    def holds_some(self) -> bool:
        return bool(self._buffers)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors of one mapping, by their own names."""
        return {
            name.removeprefix(prefix): rows
            for name, rows in self.named_buffers(recurse=False)
            if name.startswith(prefix)
        }

    def keep(self, batch: Batch, said: Outputs) -> None:
        mixed = batch.mixed
        rows = {"labelled": batch.labelled, "sample_ids": batch.sample_ids}
        rows |= _prefixed(_INPUTS, batch.inputs) | _prefixed(_TARGETS, batch.targets)
        rows |= {name: tensor.float() for name, tensor in _prefixed(_SAID, said.tensors).items()}
        if mixed is not None:
            rows |= _prefixed(_MIXED, mixed.targets) | {"mixed_labelled": mixed.labelled, "mixed_share": mixed.share}
        for name, tensor in rows.items():
            self.register_buffer(name, tensor)

    def as_batch(self, like: Batch) -> Batch:
        """The last batch again, in view and task of another."""
        mixed = None
        if like.mixed is not None:
            mixed = Mixed(self.part(_MIXED), self.get_buffer("mixed_labelled"), self.get_buffer("mixed_share"))
        return replace(
            like,
            inputs=self.part(_INPUTS),
            targets=self.part(_TARGETS),
            labelled=self.get_buffer("labelled"),
            sample_ids=self.get_buffer("sample_ids"),
            mixed=mixed,
        )

    def misfit(self, names: Collection[str]) -> str | None:
        """The first of these buffers that is no part of a batch, or is missing beside them; None where all fit."""
        strange = [name for name in names if name not in _OF_EACH and not name.startswith(_OF_SOME)]
        lacking = [name for name in _ALWAYS if names and not any(each.startswith(name) for each in names)]
        return min([*strange, *lacking], default=None)

    def bring_together(self) -> None:
        self.together = {name: gathered(rows) for name, rows in self.named_buffers(recurse=False) if len(rows)}

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination |= {prefix + name: rows for name, rows in self.together.items()}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for key in [key for key in state_dict if key.startswith(prefix)]:
            state_dict[key] = own = state_dict[key][processes.rank() :: processes.world_size()]
            self.register_buffer(key.removeprefix(prefix), torch.empty_like(own, device=self.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


_INPUTS, _TARGETS, _SAID, _MIXED = "inputs/", "targets/", "said/", "mixed targets/"
_OF_SOME = (_INPUTS, _TARGETS, _SAID, _MIXED)
_OF_EACH = ("labelled", "sample_ids", "mixed_labelled", "mixed_share")
_ALWAYS = ("labelled", "sample_ids", _INPUTS, _TARGETS, _SAID)


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}

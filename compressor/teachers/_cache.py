"""A teacher that answers each view of each sample once, and knows its answers from then on.

With counted views the same views come round again: from the second time on, and in every later run with another loss,
temperature, student or seed, the teacher costs nothing, and student and teacher still see the same picture (Beyer et al.
2022, arXiv 2106.05237, "consistent teaching"; Shen and Xing 2021, arXiv 2112.01528, stored soft labels).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from compressor import console
from compressor.artifact import Decision
from compressor.errors import ArtifactError
from compressor.models.eager import as_written
from compressor.models.network import Network
from compressor.teachers._contract import Teacher
from compressor.teachers._records import AnswerStore, Form
from compressor.tensors import Batch, Outputs

if TYPE_CHECKING:
    from compressor.tensors import Inputs

_FEW_CLASSES = 256
_TOPS = (64, 32, 16)


class CachedTeacher(Teacher):
    """Answers from what is kept, and asks the teacher behind it for the rest.

    Every answer is given as it is kept (logits in 16 bits, numbers in 32), the first time too, and where nothing can be
    kept: so a first, a resumed and a later run see the same, on a full disk as well.

    Args:
        teacher: Gives logits alone; its answer to a view does not change.
        store: Where answers are kept; or what finds it, and says why, for the student that the teacher meets. Where that
            raises an ArtifactError nothing is kept.
        form: How answers are given; by default the store's, which must be known then.
    """

    keeps_answers = True

    def __init__(
        self,
        teacher: Teacher,
        store: AnswerStore | Callable[[Network], tuple[AnswerStore, Decision]],
        *,
        form: Form | None = None,
    ) -> None:
        self.teacher = teacher
        self.store = store if isinstance(store, AnswerStore) else None
        self._find = None if isinstance(store, AnswerStore) else store
        known = store.form if isinstance(store, AnswerStore) else form
        assert known is not None, "a store that has yet to be found needs a form"
        self._form = known
        self.network = teacher.network
        self.kept = 0
        self._keeps = True

    def answer(self, batch: Batch) -> Outputs:
        """The teacher's logits, without gradients; the plain sample (view −1) is never kept."""
        if batch.view < 0:
            return self._asked(batch)
        if self.store is None:
            answer = self._asked(batch)
            as_kept = self._as_kept(answer.logits.detach().float().cpu().numpy())
            return Outputs.of(torch.from_numpy(as_kept).to(batch.device, non_blocking=True))
        sample_ids_B = batch.sample_ids.cpu().numpy()
        known_BK, there_B = self.store.read(batch.view, sample_ids_B)
        if there_B.all():
            self.kept += len(there_B)
            return Outputs.of(torch.from_numpy(known_BK).to(batch.device, non_blocking=True))
        missing_B = ~there_B
        if missing_B.all():
            answer = self._asked(batch)
        else:
            with as_written(self.network):
                rows = torch.from_numpy(np.flatnonzero(missing_B)).to(batch.device)
                answer = self._asked(batch.rows(rows))
        logits_BK = answer.logits.detach().float().cpu().numpy()
        known_BK[missing_B] = self._keep(self.store, batch.view, sample_ids_B[missing_B], logits_BK)
        self.kept += int(there_B.sum())
        return Outputs.of(torch.from_numpy(known_BK).to(batch.device, non_blocking=True))

    def meet(self, student: Network, inputs: Inputs) -> tuple[Decision, ...]:
        """Find where answers to this student's run are kept; what the teacher behind has to say of itself comes first."""
        told = self.teacher.meet(student, inputs)
        if self._find is None:
            return told
        try:
            self.store, why = self._find(student)
        except ArtifactError as fault:
            self.store, why = None, Decision("teacher cache", "none", str(fault))
            console.note(f"the teacher's predictions are not kept: {fault}")
        self.keeps_answers = self.store is not None
        return (*told, why)

    def _asked(self, batch: Batch) -> Outputs:
        answer = self.teacher.answer(batch)
        self.asked = self.teacher.asked
        return answer

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        """Move the teacher to where the batches are."""
        self.teacher.to(device, memory_format)

    def _keep(
        self, store: AnswerStore, view: int, sample_ids_B: NDArray[np.int64], logits_BK: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Keep answers, and give them as they are kept; those that are not finite are for the loop to find out about."""
        if self._keeps and np.isfinite(logits_BK).all():
            try:
                return store.write(view, sample_ids_B, logits_BK)
            except OSError as fault:
                self._keeps = False
                console.note(f"the teacher's answers are no longer kept: {fault.strerror} ({store.folder})")
        return self._as_kept(logits_BK)

    def _as_kept(self, logits_BK: NDArray[np.float32]) -> NDArray[np.float32]:
        if not np.isfinite(logits_BK).all():
            return logits_BK
        return self._form.unpack(self._form.pack(logits_BK))


def bytes_per_view(*, num_samples: int, num_classes: int, of_numbers: bool = False) -> int:
    """Disk that the answers to one view of every sample take, by which views are counted: whole, or the 64 largest of many.

    Shorter records are for views that are stated: what is left of the answers is flat above a temperature of 1, and more
    views are not worth that.
    """
    return num_samples * _forms(num_classes, of_numbers=of_numbers)[:2][-1].record_bytes


def choose_form(
    *, num_samples: int, num_classes: int, num_views: int, budget_bytes: int, of_numbers: bool = False
) -> tuple[Form, Decision]:
    """All logits where they are few or fit the budget, else as many of the largest as fit.

    Args:
        num_samples: Of the training set.
        num_classes: K.
        num_views: Views of each sample.
        budget_bytes: Disk for all of them.
        of_numbers: Whether answers are numbers in the unit of the data, which are all kept as they are.
    """
    for form in _forms(num_classes, of_numbers=of_numbers):
        size = num_samples * num_views * form.record_bytes
        if size <= budget_bytes:
            break
    what = "numbers" if of_numbers else "classes"
    about = f"{num_views} view(s) of {num_samples} samples of {num_classes} {what} take {_size(size)}"
    fits = "fits" if size <= budget_bytes else "is more than"
    return form, Decision(
        "teacher cache", str(form), f"{about}, which {fits} distill.cache_gb = {budget_bytes / 1e9:g}"
    )


def _forms(num_classes: int, *, of_numbers: bool) -> list[Form]:
    """From the whole answer to the shortest."""
    if of_numbers:
        return [Form(num_classes, exact=True)]
    whole = Form(num_classes)
    if num_classes <= _FEW_CLASSES:
        return [whole]
    return [whole, *(Form(num_classes, top) for top in _TOPS)]


def _size(num_bytes: int) -> str:
    if num_bytes >= 1e8:
        return f"{num_bytes / 1e9:.2f} GB"
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.1f} kB"

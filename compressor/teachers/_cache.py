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
from compressor.teachers._records import Answer, AnswerStore, Form, is_finite
from compressor.tensors import Batch, Outputs, Schema

if TYPE_CHECKING:
    from compressor.tensors import Inputs


class CachedTeacher(Teacher):
    """Answers from what is kept, and asks the teacher behind it for the rest.

    Every answer is given as it is kept (logits in 16 bits, numbers in 32, maps perhaps at a stride), the first time too, and
    where nothing can be kept: so a first, a resumed and a later run see the same, on a full disk as well.

    Args:
        teacher: Gives the outputs of the form; its answer to a view does not change.
        store: Where answers are kept; or what finds it, and says why, for the student that the teacher meets. Where that
            raises an ArtifactError nothing is kept.
        form: How answers are given; by default the store's, which must be known then.
        inputs: What samples are made of, where outputs are as long as these.
    """

    keeps_answers = True

    def __init__(
        self,
        teacher: Teacher,
        store: AnswerStore | Callable[[Network], tuple[AnswerStore, Decision]],
        *,
        form: Form | None = None,
        inputs: Schema | None = None,
    ) -> None:
        self.teacher = teacher
        self.store = store if isinstance(store, AnswerStore) else None
        self._find = None if isinstance(store, AnswerStore) else store
        known = store.form if isinstance(store, AnswerStore) else form
        assert known is not None, "a store that has yet to be found needs a form"
        self._form = known
        self._inputs = Schema(()) if inputs is None else inputs
        self.network = teacher.network
        self.kept = 0
        self._keeps = True

    def answer(self, batch: Batch) -> Outputs:
        """The teacher's outputs, without gradients; the plain sample (view −1) is never kept."""
        if batch.view < 0:
            return self._asked(batch)
        if self.store is None:
            return self._given(batch, self._as_kept(self._form.of(self._asked(batch))))
        sample_ids_B = batch.sample_ids.cpu().numpy()
        answer, there_B = self.store.read(batch.view, sample_ids_B)
        self.kept += int(there_B.sum())
        if there_B.all():
            return self._given(batch, answer)
        missing_B = ~there_B
        if missing_B.all():
            asked = self._asked(batch)
        else:
            with as_written(self.network):
                rows = torch.from_numpy(np.flatnonzero(missing_B)).to(batch.device)
                asked = self._asked(batch.rows(rows))
        for name, values in self._keep(self.store, batch.view, sample_ids_B[missing_B], self._form.of(asked)).items():
            answer[name][missing_B] = values
        return self._given(batch, answer)

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

    def _given(self, batch: Batch, answer: Answer) -> Outputs:
        """Answers as they are kept, as long as the batch is."""
        return _on(batch.device, self._form.cut(answer, self._inputs.sizes(batch.inputs)))

    def _asked(self, batch: Batch) -> Outputs:
        answer = self.teacher.answer(batch)
        self.asked = self.teacher.asked
        return answer

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        """Move the teacher to where the batches are."""
        self.teacher.to(device, memory_format)

    def _keep(
        self, store: AnswerStore, view: int, sample_ids_B: NDArray[np.int64], answer: Answer
    ) -> dict[str, NDArray[np.float32]]:
        """Keep answers, and give them as they are kept; those that are not finite are for the loop to find out about."""
        if self._keeps and is_finite(answer):
            try:
                return store.write(view, sample_ids_B, answer)
            except OSError as fault:
                self._keeps = False
                console.note(f"the teacher's answers are no longer kept: {fault.strerror} ({store.folder})")
        return self._as_kept(answer)

    def _as_kept(self, answer: Answer) -> dict[str, NDArray[np.float32]]:
        return self._form.unpack(self._form.pack(answer)) if is_finite(answer) else dict(answer)


def _on(device: torch.device, answer: Answer) -> Outputs:
    return Outputs({name: torch.from_numpy(values).to(device, non_blocking=True) for name, values in answer.items()})

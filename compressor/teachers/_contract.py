"""What a teacher is: whatever answers "what should the student say about this batch?".

A teacher of one's own is a subclass of `Teacher` with one method, `answer`. What its constructor takes by position says
what it is made from, and the loop's side hands that over by name:

    network     one trained network                 networks        several
    file        a file that the user named          classes         names of the data's classes
    known       for each network, the names of the classes that it knows
    previous    the generation of the student before, which the run has trained
    peers       networks that are trained along     samples         the training samples

Nothing by position: it needs no other network, and the student learns from itself. Options come by keyword.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from compressor.artifact import Decision
from compressor.data.samples import Samples
from compressor.models.network import Network
from compressor.tensors import Batch, Outputs

if TYPE_CHECKING:
    from compressor.tensors import Inputs

Pairing = Callable[[NDArray[np.int64], int], NDArray[np.int64]]
"""(positions `[B]`, epoch) → positions `[B]` of the sample that goes with each one."""


@dataclass(frozen=True)
class Lesson:
    """One pair of answers that the losses compare.

    Attributes:
        student: What was said by the one who learns (the student; or a peer, or a head of the student's own).
        teacher: What should have been said; carries no gradients. None where the labels alone teach.
        batch: What both saw.
        name: Tells lessons of one step apart in logs; empty for the student's own.
        weight: Share of this lesson in the step.
        answers: Whether logits are compared; features are, wherever the teacher gives some.
    """

    student: Outputs
    teacher: Outputs | None
    batch: Batch
    name: str = ""
    weight: float = 1.0
    answers: bool = True


@dataclass(frozen=True)
class Showing:
    """A batch in the making: what the loop is about to show, and what else it could show of the same samples.

    Attributes:
        batch: The samples in the view of this epoch.
        another_view: The same samples in the view of this number.
        partners: The samples that `Teacher.pairing` has put beside these; None without a pairing.
    """

    batch: Batch
    another_view: Callable[[int], Batch]
    partners: Callable[[], Batch] | None = None


class Teacher:
    """Answers batches; every hook but `answer` may be left as it is.

    Attributes:
        needs: What it needs besides what its constructor takes, in the words of `recipe.capabilities`: `labels`, where it
            knows nothing by itself; `one_class`, where it reads predictions as probabilities of one right class.
        gives: What it gives besides predictions: `features` of feature layers, `own_features` where they are the student's,
            `changing` where it learns along with the student or changes with it. A member writes both out in its own class,
            since they are read from its source.
        keeps_answers: Whether an answer to a view that it has seen costs nothing more.
        asked: Samples it has answered by computing so far.
        taps: Dotted paths of modules whose outputs the losses read.
        network: The module that computes its answers and may be compiled; None when there is no single one.
        parts: What it keeps between steps and what it trains: saved with the state of the run, parameters that want
            gradients are trained along, nothing of it is exported.
        usual: The loss that its authors used, where no loss is stated: name and options as in a recipe.
        reads: Dotted paths of modules of the student whose outputs it takes.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    gives: ClassVar[tuple[str, ...]] = ()
    keeps_answers: bool = False
    asked: int = 0
    taps: tuple[str, ...] = ()
    network: nn.Module | None = None
    parts: nn.Module | None = None
    reads: tuple[str, ...] = ()
    usual: ClassVar[Mapping[str, Any]] = {"name": "kd"}

    def answer(self, batch: Batch) -> Outputs:
        """What the student should say; carries no gradients."""
        raise NotImplementedError

    def on_record(self, samples: Samples) -> NDArray[np.floating[Any]] | None:
        """Its logits `[N, K]` for samples of another split, where it has them without computing."""
        return None

    def to(self, device: torch.device, memory_format: torch.memory_format) -> None:
        """Move to where the batches are."""
        if self.parts is not None:
            self.parts.to(device=device)

    def meet(self, student: Network, inputs: Inputs) -> tuple[Decision, ...]:
        """Get to know the student before training, on the CPU.

        Args:
            student: As it begins; a teacher that asks it later keeps the reference.
            inputs: Two samples, to learn shapes from.

        Returns:
            What was chosen, and why.
        """
        return ()

    def pairing(self) -> Pairing | None:
        """Which sample goes with each one, for a teacher that wants to see pairs."""
        return None

    def shown(self, showing: Showing) -> Batch:
        """What the student is to see in this step."""
        return showing.batch

    def lessons(self, batch: Batch, student: Outputs) -> Sequence[Lesson]:
        """Everything that is compared in this step.

        Args:
            batch: As `shown` has made it.
            student: The student's answer to it, with gradients.
        """
        return (Lesson(student, self.answer(batch), batch),)

    def after_step(self, *, step: int) -> None:
        """The student has made optimiser step `step` (from 0)."""

    def before_keeping(self) -> None:
        """The main process is about to write `parts`; called in every process, which may hold shares of them."""

    def after_epoch(self, *, epoch: int) -> None:
        """The student has finished epoch `epoch` (from 0)."""

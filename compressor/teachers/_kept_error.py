"""What an answer loses when it is kept, measured on answers to real samples.

Shape letters: M rows that losses compare, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from compressor.teachers._contract import Teacher
from compressor.teachers._records import Answer, Form, is_finite
from compressor.tensors import Batch, Schema


@dataclass
class KeptError:
    """Differences between what a teacher predicts and what comes back of it.

    Attributes:
        samples: That were answered, all of their outputs finite.
        values: Numbers of their outputs.
        largest: Largest absolute difference of one.
        total: Sum of the absolute differences.
        rows: Rows of logits of which one class is right, that count.
        changed: Those of which another class is the largest.
        divergence: Sum over rows of the Kullback-Leibler divergence of what comes back from what was predicted, in nats.
    """

    samples: int = 0
    values: int = 0
    largest: float = 0.0
    total: float = 0.0
    rows: int = 0
    changed: int = 0
    divergence: float = 0.0

    def __str__(self) -> str:
        if not self.samples:
            return "what that loses is not known: predictions for training samples are not finite"
        told = (
            f"on {self.samples} samples predictions come back within {self.largest:.2g}, {self._mean():.2g} in the mean"
        )
        if not self.rows:
            return told
        share, mean = self.changed / self.rows, max(0.0, self.divergence) / self.rows
        return f"{told}; {share:.2%} of {self.rows} rows name another class, mean KL {mean:.1e}"

    def _mean(self) -> float:
        return self.total / self.values

    def add(self, predicted: dict[str, Tensor], kept: dict[str, Tensor], batch: Batch) -> None:
        """Take the outputs of one more batch into account, each `[B, ...]`."""
        self.samples += len(batch)
        for name, values in predicted.items():
            difference = (values - kept[name]).abs()
            self.values += difference.numel()
            self.largest = max(self.largest, float(difference.max()))
            self.total += float(difference.sum(dtype=torch.float64))
        rows, rows_kept = batch.task.rows(predicted, batch), batch.task.rows(kept, batch)
        if rows.kind != "softmax":
            return
        counts_M = torch.ones(len(rows.values), dtype=torch.bool) if rows.weight is None else rows.weight > 0
        logits_MK, kept_MK = rows.values[counts_M].double(), rows_kept.values[counts_M].double()
        self.rows += len(logits_MK)
        self.changed += int((logits_MK.argmax(dim=1) != kept_MK.argmax(dim=1)).sum())
        log_MK = logits_MK.log_softmax(dim=1)
        self.divergence += float((log_MK.exp() * (log_MK - kept_MK.log_softmax(dim=1))).sum())


def kept_error(teacher: Teacher, form: Form, batches: Iterable[Batch], *, inputs: Schema | None = None) -> KeptError:
    """What answers to these batches lose; leaves nothing behind, neither in the teacher's count nor in the random stream.

    Measured in every run anew, so that the manifest of a run that asks its teacher nothing says it as well.
    """
    error, asked = KeptError(), teacher.asked
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for batch in batches:
            predicted = form.of(teacher.answer(batch))
            if is_finite(predicted):
                sizes = {} if inputs is None else inputs.sizes(batch.inputs)
                kept = form.unpack(form.pack(predicted))
                error.add(_in_torch(form.cut(predicted, sizes)), _in_torch(form.cut(kept, sizes)), batch)
    teacher.asked = asked
    return error


def _in_torch(answer: Answer) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in answer.items()}

"""The best answer that needs no look at the sample, and whether a model does better; and right answers kept for pairing.

A model that has learned nothing answers with the most common class and is right as often as that class occurs: 54 % of
two classes is no sign of learning. What it must beat on the same samples is the constant that is right most often: the
most common class, the most common set of classes, or the mean or the median of the targets.

Shape letters: N samples, K outputs.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor import label_sets
from compressor.measure.statistics import more_than_fair
from compressor.tasks._contract import NumberTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressor.tasks._contract import Task

LEVEL = 0.05
"""From this probability on, a model is not shown to be better than the constant."""


def against_majority(
    task: Task, right_N: NDArray[np.bool_], labels_N: NDArray[Any], *, classes: Sequence[str]
) -> dict[str, Any] | None:
    """Hold right answers against those of the best constant answer: McNemar's exact test, one-sided.

    Args:
        task: What answers mean.
        right_N: Whether the model answers each sample rightly.
        labels_N: The labels of the samples.
        classes: Names of the classes, or of the numbers.

    Returns:
        `metric`, the share of samples for which the constant is right; `answer`, the constant in words; `constant_only` and
        `model_only`, the samples that only one of the two answers rightly; `p_value`, how often a model that is no better
        would do as well. None where the constant is right for every sample, so that nothing could beat it.
    """
    found = [(name, _right(task, row_K, labels_N)) for name, row_K in _constants(task, labels_N, classes)]
    name, constant_N = max(found, key=lambda each: int(each[1].sum()))  # among equals the first
    if bool(constant_N.all()):
        return None
    model_only, constant_only = int((right_N & ~constant_N).sum()), int((constant_N & ~right_N).sum())
    return {
        "metric": float(constant_N.mean()),
        "answer": name,
        "constant_only": constant_only,
        "model_only": model_only,
        "p_value": more_than_fair(model_only, constant_only),
    }


def packed(right_N: NDArray[np.bool_]) -> str:
    """Right and wrong answers as text, a bit for each sample."""
    return base64.b64encode(np.packbits(right_N).tobytes()).decode("ascii")


def unpacked(text: str, *, count: int) -> NDArray[np.bool_] | None:
    """What `packed` was given; None where it was not so many answers."""
    try:
        bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except ValueError:
        return None
    if len(bits) != -(-count // 8):
        return None
    right_N: NDArray[np.bool_] = np.unpackbits(bits)[:count].astype(bool)
    return right_N


def _constants(task: Task, labels_N: NDArray[Any], classes: Sequence[str]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Constant answers in words and as a row of outputs."""
    if isinstance(task, NumberTask):
        targets_NK = labels_N.astype(np.float64)
        yield "the mean of the targets", targets_NK.mean(axis=0)
        yield "the median of the targets", np.median(targets_NK, axis=0)
        return
    values, counts = np.unique(labels_N, return_counts=True)
    most = int(values[counts.argmax()])
    if getattr(task, "label_sets", False):
        yield label_sets.named(most, classes), np.where(label_sets.decode(np.array([most]), len(classes))[0], 1.0, -1.0)
        return
    yield classes[most], np.eye(len(classes))[most]


def _right(task: Task, row_K: NDArray[Any], labels_N: NDArray[Any]) -> NDArray[np.bool_]:
    return task.correct(np.broadcast_to(row_K.astype(np.float32), (len(labels_N), len(row_K))), labels_N)

"""What a model answers to a set of samples, and how good those answers are.

Shape letters: N samples, B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from compressor.errors import MeasurementError
from compressor.measure.majority import against_majority
from compressor.measure.statistics import wilson_interval
from compressor.tasks._contract import NumberTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressor.tasks._contract import Task


_SAME = 1e-9
_FAR_FROM_ONE = 1e-2  # probabilities of 16 bits add up to 1 within less


class Samples(Protocol):
    """The part of a data set that is needed here."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The inputs at `positions`, each `[B, ...]`."""
        ...


def points_below(before: float, after: float) -> float:
    """How many points a share in 0–1 fell; a fall of exactly one point is 1, which 100 · (0.95 − 0.94) is not."""
    return round(100 * (before - after), 9)


def one_input(inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The array of samples that are made of one.

    Raises:
        MeasurementError: They are made of several.
    """
    if len(inputs) != 1:
        told = f"samples have {len(inputs)} inputs ({', '.join(inputs)})"
        raise MeasurementError(told, hint="this runs models of one input")
    return next(iter(inputs.values()))


def predict(
    runtime: Callable[[NDArray[Any]], NDArray[np.float32]], samples: Samples, *, batch_size: int = 256
) -> NDArray[np.float32]:
    """The answers of a loaded model (a runtime, or what answers like one) to every sample, in order.

    Returns:
        `[N, K]` outputs.

    Raises:
        MeasurementError: There are no samples, the model cannot take them, or it does not give a row for each.
    """
    if not len(samples):
        raise MeasurementError("there is no sample to answer to", hint="give a split with at least one sample")
    found = []
    for first in range(0, len(samples), batch_size):
        positions = np.arange(first, min(first + batch_size, len(samples)), dtype=np.int64)
        answer_BK = runtime(one_input(samples.fetch(positions)))
        if answer_BK.ndim != 2 or len(answer_BK) != len(positions):
            raise MeasurementError(
                f"the model answers a batch of {len(positions)} with shape {list(answer_BK.shape)}",
                hint="it must give one row of outputs for each sample, for any batch size",
            )
        found.append(answer_BK)
    return np.concatenate(found).astype(np.float32, copy=False)


def adds_up_to_one(answers_NK: NDArray[np.float32]) -> bool:
    """Whether every row can be the probabilities of classes, of which a sample has one."""
    return bool(answers_NK.min() >= 0 and np.abs(answers_NK.sum(axis=1) - 1).max() < _FAR_FROM_ONE)


def evaluate(task: Task, logits_NK: NDArray[Any], labels_N: NDArray[Any], *, classes: Sequence[str]) -> dict[str, Any]:
    """Judge stored outputs.

    Args:
        task: What the outputs mean.
        logits_NK: Outputs.
        labels_N: Class numbers.
        classes: Names of the classes, in the order of their numbers.

    Returns:
        `samples`; `metrics` by name; `primary`, the name of the one that counts; `interval`, `[low, high]`: its 95 %
        Wilson interval where it is the share of right decisions, None where it is another metric; `per_class`: `name`,
        `samples` and `accuracy` of each class; `reliability`: confidence against accuracy, by bin; `majority`: the best
        constant answer beside it, as in `majority.against_majority`, None where there is no interval either;
        `tolerance` of each number, where the task tells numbers.

    Raises:
        DataError: Outputs and labels do not fit together.
    """
    metrics = task.metrics(logits_NK, labels_N)
    per_class = task.per_class(logits_NK, labels_N, num_classes=len(classes))
    right_N = task.correct(logits_NK, labels_N)
    interval = _interval(metrics[task.primary], right_N)
    return {
        "samples": len(labels_N),
        "metrics": metrics,
        "primary": task.primary,
        "interval": interval,
        "majority": None if interval is None else against_majority(task, logits_NK, labels_N, classes=classes),
        "per_class": [{"name": name, **found} for name, found in zip(classes, per_class)],
        "reliability": task.reliability(logits_NK, labels_N),
        **_tolerance(task, classes),
    }


def _interval(metric: float, right_N: NDArray[np.bool_]) -> list[float] | None:
    if not abs(metric - float(right_N.mean())) < _SAME:
        return None
    return list(wilson_interval(int(right_N.sum()), len(right_N)))


def _tolerance(task: Task, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    if not isinstance(task, NumberTask) or task.tolerances is None:
        return {}
    return {"tolerance": dict(zip(classes, task.tolerances.tolist()))}


def worst(
    task: Task, base_NK: NDArray[Any], other_NK: NDArray[Any], labels_N: NDArray[Any], *, most: int = 24
) -> list[dict[str, Any]]:
    """The samples on which a model is worse than the base: the base is right, the model is wrong, and sure of it.

    Returns:
        Of each, the surest first: `position`, `label`, and the class and probability that each answers
        (`base`, `base_probability`, `answer`, `probability`). Where a task tells numbers the furthest from the target
        comes first, and `numbers` holds the targets, the base's answer and the model's.
    """
    if isinstance(task, NumberTask):
        return _furthest(task, base_NK, other_NK, labels_N, most=most)
    base_answer_N, base_sure_N = task.answers(base_NK)
    answer_N, sure_N = task.answers(other_NK)
    lost_N = np.flatnonzero(task.correct(base_NK, labels_N) & ~task.correct(other_NK, labels_N))
    order = lost_N[np.argsort(-np.nan_to_num(sure_N[lost_N]), kind="stable")][:most]
    return [
        {
            "position": int(position),
            "label": int(labels_N[position]),
            "base": int(base_answer_N[position]),
            "base_probability": float(base_sure_N[position]),
            "answer": int(answer_N[position]),
            "probability": float(np.nan_to_num(sure_N[position])),
        }
        for position in order.tolist()
    ]


def _furthest(
    task: NumberTask, base_NK: NDArray[Any], other_NK: NDArray[Any], labels_N: NDArray[Any], *, most: int
) -> list[dict[str, Any]]:
    lost_N = np.flatnonzero(task.correct(base_NK, labels_N) & ~task.correct(other_NK, labels_N))
    order = lost_N[np.argsort(-np.nan_to_num(task.errors(other_NK, labels_N)[lost_N]), kind="stable")][:most]
    targets_NK = labels_N
    return [
        {
            "position": int(position),
            "label": -1,
            "base": -1,
            "base_probability": 0.0,
            "answer": -1,
            "probability": 0.0,
            "numbers": [
                [float(value) for value in np.nan_to_num(rows_NK[position])]
                for rows_NK in (targets_NK, base_NK, other_NK)
            ],
        }
        for position in order.tolist()
    ]

"""What a model predicts for a set of samples, and how good that is; batch by batch, so that no set's outputs are held.

Shape letters: N samples, B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from compressor.errors import MeasurementError
from compressor.measure.majority import against_majority
from compressor.measure.statistics import (
    paired_difference,
    resampled_difference,
    resampled_interval,
    wilson_interval,
)
from compressor.scores import RIGHT, joined
from compressor.tasks._contract import NumberTask, SummedTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressor.scores import Findings
    from compressor.tasks._contract import Task

    Predict = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
    """A loaded model (a runtime, or what predicts like one): inputs by name, each `[B, ...]`, to outputs by name."""

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


class Labelled(Samples, Protocol):
    """The part of a data set that models are judged on."""

    def fetch_targets(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The targets at `positions`, each `[B, ...]`."""
        ...


def one_input(inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The array of samples that are made of one.

    Raises:
        MeasurementError: They are made of several.
    """
    if len(inputs) != 1:
        told = f"samples have {len(inputs)} inputs ({', '.join(inputs)})"
        raise MeasurementError(told, hint="this runs models of one input")
    return next(iter(inputs.values()))


def batches_of(
    samples: Samples, *, batch_size: int = 256
) -> Iterator[tuple[NDArray[np.int64], dict[str, NDArray[Any]]]]:
    """Positions `[B]` and inputs of every sample, in order, a batch at a time.

    Raises:
        MeasurementError: There are no samples.
    """
    if not len(samples):
        raise MeasurementError("there is no sample to answer to", hint="give a split with at least one sample")
    for first in range(0, len(samples), batch_size):
        positions = np.arange(first, min(first + batch_size, len(samples)), dtype=np.int64)
        yield positions, samples.fetch(positions)


def outputs_of(model: Predict, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What a model predicts for one batch, by name; floats in float32.

    Raises:
        MeasurementError: It cannot take the batch, or does not give a row for each sample.
    """
    count = len(next(iter(inputs.values())))
    given = model(inputs)
    found = {}
    for name, array in given.items():
        if array.ndim < 2 or len(array) != count:
            what = "the model answers" if len(given) == 1 else f"'{name}' of the model answers"
            raise MeasurementError(
                f"{what} a batch of {count} with shape {list(array.shape)}",
                hint="it must give one row of outputs for each sample, for any batch size",
            )
        found[name] = array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array
    return found


def predict(model: Predict, samples: Samples, *, batch_size: int = 256) -> dict[str, NDArray[Any]]:
    """All outputs of a model for every sample, in order: for few samples, since they are held.

    Raises:
        MeasurementError: There are no samples, the model cannot take them, or it does not give a row for each.
    """
    return joined([outputs_of(model, inputs) for _, inputs in batches_of(samples, batch_size=batch_size)])


def judge(task: Task, model: Predict, samples: Labelled, *, batch_size: int = 256) -> dict[str, NDArray[Any]]:
    """What a task keeps of a model's outputs for every sample, in order; outputs go as they come.

    Raises:
        MeasurementError: As in `predict`.
        DataError: Outputs and targets do not fit together.
    """
    return joined(
        [
            task.findings(outputs_of(model, inputs), samples.fetch_targets(positions))
            for positions, inputs in batches_of(samples, batch_size=batch_size)
        ]
    )


@dataclass(frozen=True)
class Together:
    """Several models, judged on the same samples.

    Attributes:
        findings: By role.
        alike: By role, how much of each sample is decided as the base decides it, `[N]`; empty without a base.
    """

    findings: Mapping[str, Mapping[str, NDArray[Any]]]
    alike: Mapping[str, NDArray[Any]]


def judge_together(
    task: Task, models: Mapping[str, Predict], samples: Labelled, *, base: str, batch_size: int = 256
) -> Together:
    """Judge models in one pass over the samples, in which no outputs of a set are held.

    Args:
        task: What outputs mean.
        models: By role.
        samples: Each model sees the same batches of them.
        base: Role that decisions are compared with; nothing is compared where it is not among the models.
        batch_size: Samples predicted at a time.
    """
    findings: dict[str, list[dict[str, NDArray[Any]]]] = {role: [] for role in models}
    alike: dict[str, list[NDArray[Any]]] = {role: [] for role in models if base in models}
    for positions, inputs in batches_of(samples, batch_size=batch_size):
        targets = samples.fetch_targets(positions)
        outputs = {role: outputs_of(model, inputs) for role, model in models.items()}
        for role, given in outputs.items():
            findings[role].append(task.findings(given, targets))
            if base in outputs:
                alike[role].append(task.alike(outputs[base], given))
    return Together(
        {role: joined(parts) for role, parts in findings.items()},
        {role: np.concatenate(parts) for role, parts in alike.items()},
    )


def adds_up_to_one(answers_NK: NDArray[np.float32]) -> bool:
    """Whether every row can be the probabilities of classes, of which a sample has one."""
    return bool(answers_NK.min() >= 0 and np.abs(answers_NK.sum(axis=1) - 1).max() < _FAR_FROM_ONE)


def evaluate(task: Task, findings: Findings, *, classes: Sequence[str]) -> dict[str, Any]:
    """What findings come to.

    Args:
        task: What they mean.
        findings: Of every sample, as `judge` gives them.
        classes: Names of the classes, in the order of their numbers.

    Returns:
        `samples`; `metrics` by name; `primary`, the name of the one that counts, and `metric`, its unit and direction;
        `interval`, `[low, high]`: its 95 % Wilson interval where it is the share of right decisions, from resampled samples
        where it follows from sums over them, None where it is another metric; `per_class`: `name`, `samples` and
        `accuracy` of each class; `reliability`: confidence against accuracy, by bin; `majority`: the best constant answer
        beside it, as in `majority.against_majority`, None where a sample is not right or wrong as a whole; `tolerance` of
        each number, where the task tells numbers.
    """
    metrics = task.metrics(findings)
    per_class = task.per_class(findings, num_classes=len(classes))
    of_decisions = _is_share_of_right(task, findings, metrics)
    return {
        "samples": len(next(iter(findings.values()))),
        "metrics": metrics,
        "primary": task.primary,
        "metric": task.metric(task.primary).as_json(),
        "interval": _interval(task, findings, of_decisions=of_decisions),
        "majority": against_majority(task, findings, classes=classes) if of_decisions else None,
        "per_class": [{"name": name, **found} for name, found in zip(classes, per_class)],
        "reliability": task.reliability(findings),
        **_tolerance(task, classes),
    }


def _is_share_of_right(task: Task, findings: Findings, metrics: Mapping[str, float]) -> bool:
    """Whether the metric that counts is the share of samples that are told right."""
    right_N = findings.get(RIGHT)
    return right_N is not None and abs(metrics[task.primary] - float(right_N.mean())) < _SAME


def paired(task: Task, base: Findings, other: Findings) -> dict[str, Any] | None:
    """Whether one model does better than another on the same samples.

    Returns:
        McNemar's exact test of right decisions where there are some (`statistics.PairedDifference`); a paired bootstrap over
        samples where the metric follows from sums over them (`statistics.ResampledDifference`); None for another metric.
    """
    if RIGHT in base:
        return asdict(paired_difference(base[RIGHT], other[RIGHT]))
    if isinstance(task, SummedTask):
        sign = 1 if task.metric(task.primary).larger_is_better else -1
        found = resampled_difference(task.statistics(base), task.statistics(other), task.of_sums, sign=sign)
        return asdict(found)
    return None


def _interval(task: Task, findings: Findings, *, of_decisions: bool) -> list[float] | None:
    if of_decisions:
        right_N = findings[RIGHT]
        return list(wilson_interval(int(right_N.sum()), len(right_N)))
    return list(resampled_interval(task.statistics(findings), task.of_sums)) if isinstance(task, SummedTask) else None


def _tolerance(task: Task, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    if not isinstance(task, NumberTask) or task.tolerances is None:
        return {}
    return {"tolerance": dict(zip(classes, task.tolerances.tolist()))}

"""How far a converted model is from the one it came from, on real data.

Differences are stated as a share of the spread of the reference outputs: a difference of 0.01 is nothing to logits that
range over 20, and everything to logits that range over 0.02.

Shape letters: N samples, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor.errors import ParityError
from compressor.measure.accuracy import batches_of, outputs_of
from compressor.scores import joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressor.measure.accuracy import Labelled, Predict
    from compressor.tasks._contract import Task

_WORST_KEPT = 5
_MOST_VALUES = 1 << 24  # of an output that are held at once
_ROUNDING = 1e-9  # one of a thousand is allowed to be one of a thousand


@dataclass(frozen=True)
class ParityReport:
    """The difference between two sets of outputs for the same samples.

    Attributes:
        samples: How many were compared.
        max_abs: Largest difference of a value; of several outputs, of the one that differs most.
        mean_abs: Mean difference of its values.
        spread: Standard deviation of all its reference values.
        max_relative: `max_abs` as a share of `spread`.
        agreement: Share of samples on which both decide the same.
        metric_reference: The task's primary metric of the reference; None where no sample has a label.
        metric_candidate: The task's primary metric of the candidate; None likewise.
        metric_name: Its name.
        metric_unit: Its unit, `%` for a share in 0–1.
        worst: Position and largest difference of the samples that differ most, the worst first.
    """

    samples: int
    max_abs: float
    mean_abs: float
    spread: float
    max_relative: float
    agreement: float
    metric_reference: float | None
    metric_candidate: float | None
    metric_name: str
    worst: tuple[tuple[int, float], ...]
    metric_unit: str = "%"

    def failures(self, *, tolerance: float, min_agreement: float, max_metric_change: float = 0.001) -> list[str]:
        """Every reason why the candidate cannot stand for the reference, as sentences; empty when it can.

        Args:
            tolerance: Largest `max_relative`.
            min_agreement: Least `agreement`.
            max_metric_change: Largest change of the metric, up or down.
        """
        if not math.isfinite(self.max_abs):
            return [f"the outputs for sample {self.worst[0][0]} hold a NaN or an infinity"]
        found = []
        if not self.max_relative <= tolerance:
            found.append(
                f"outputs differ by up to {self.max_abs:.3g}, which is {self.max_relative:.3g} of their spread "
                f"({self.spread:.3g}); {tolerance:g} is allowed (worst at sample {self.worst[0][0]})"
            )
        if not self.agreement >= min_agreement:
            found.append(f"decisions agree on {self.agreement:.2%} of the samples; at least {min_agreement:.2%} must")
        if self.metric_reference is None or self.metric_candidate is None:
            return found
        if not abs(self.metric_candidate - self.metric_reference) <= max_metric_change + _ROUNDING:
            found.append(
                f"{self.metric_name} goes from {self.metric_reference:.4f} to {self.metric_candidate:.4f}; "
                f"a change of {max_metric_change:g} is allowed"
            )
        return found


def compare(
    reference: Mapping[str, NDArray[Any]],
    candidate: Mapping[str, NDArray[Any]],
    *,
    task: Task,
    targets: Mapping[str, NDArray[Any]] | None,
) -> ParityReport:
    """Compare the outputs of two models for the same samples, in float64.

    Args:
        reference: Of the model that was there before, by name, each `[N, ...]`.
        candidate: Of the one that is to stand for it.
        task: What outputs mean.
        targets: Of the samples; None where they have none, and then no metric is compared.

    Raises:
        ParityError: The outputs differ in name or shape, or there are none.
        DataError: Outputs and targets do not fit together.
    """
    return _report([_part(reference, candidate, task=task, targets=targets)], task=task)


def between(
    reference: Predict, candidate: Predict, samples: Labelled, *, task: Task, judged: bool, batch_size: int = 256
) -> ParityReport:
    """Compare what two models predict for samples, a part of them at a time, so that the outputs of a set are never held.

    Args:
        reference: The model that was there before.
        candidate: The one that is to stand for it.
        samples: What both see.
        task: What outputs mean.
        judged: Whether samples have targets, so that the metric is compared as well.
        batch_size: Samples predicted at a time.

    Raises:
        MeasurementError: A model does not take the samples.
        ParityError: As in `compare`.
    """
    parts: list[_Part] = []
    ours: list[Mapping[str, NDArray[Any]]] = []
    theirs: list[Mapping[str, NDArray[Any]]] = []
    asked: list[NDArray[np.int64]] = []

    def finish() -> None:
        targets = samples.fetch_targets(np.concatenate(asked)) if judged else None
        parts.append(_part(joined(ours), joined(theirs), task=task, targets=targets))
        for each in (ours, theirs, asked):
            each.clear()

    for positions, inputs in batches_of(samples, batch_size=batch_size):
        asked.append(positions)
        ours.append(outputs_of(reference, inputs))
        theirs.append(outputs_of(candidate, inputs))
        if sum(array.size for outputs in ours for array in outputs.values()) > _MOST_VALUES:
            finish()
    if asked:
        finish()
    return _report(parts, task=task)


@dataclass(frozen=True)
class _Part:
    """What some of the samples come to.

    Attributes:
        spread: Of each output: how many values, their mean and their standard deviation.
        mean_abs: Of each output, the mean difference of its values.
        worst: Of each output, the largest difference of each sample, `[N]`.
        alike: How much of each sample is decided alike.
        findings: Of both models, where samples have targets.
    """

    spread: Mapping[str, tuple[int, float, float]]
    mean_abs: Mapping[str, float]
    worst: Mapping[str, NDArray[np.float64]]
    alike: NDArray[Any]
    findings: tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]] | None


def _part(
    reference: Mapping[str, NDArray[Any]],
    candidate: Mapping[str, NDArray[Any]],
    *,
    task: Task,
    targets: Mapping[str, NDArray[Any]] | None,
) -> _Part:
    if reference.keys() != candidate.keys():
        raise ParityError(f"outputs {', '.join(candidate)} cannot be compared with {', '.join(reference)}")
    spread, mean_abs, worst_N = {}, {}, {}
    for name, ours in reference.items():
        theirs = candidate[name]
        if ours.shape != theirs.shape or not ours.size:
            raise ParityError(f"outputs {list(theirs.shape)} cannot be compared with {list(ours.shape)}")
        wide, other = ours.astype(np.float64), theirs.astype(np.float64)
        with np.errstate(invalid="ignore"):  # inf - inf is NaN, and NaN fails
            differences = np.abs(other - wide)
            spread[name] = (wide.size, float(wide.mean()), float(wide.std()))
        mean_abs[name] = float(differences.mean())
        worst_N[name] = differences.reshape(len(differences), -1).max(axis=1)
    findings = None if targets is None else (task.findings(reference, targets), task.findings(candidate, targets))
    return _Part(spread, mean_abs, worst_N, task.alike(reference, candidate), findings)


def _report(parts: Sequence[_Part], *, task: Task) -> ParityReport:
    """What all parts come to, of the output that differs most."""
    found = []
    for name in parts[0].spread:
        worst_N = np.concatenate([part.worst[name] for part in parts])
        spread = _spread([part.spread[name] for part in parts])
        max_abs, sizes = float(worst_N.max()), [part.spread[name][0] for part in parts]
        means = [part.mean_abs[name] for part in parts]
        mean_abs = means[0] if len(parts) == 1 else float(np.average(means, weights=sizes))
        found.append((_relative(max_abs, spread), max_abs, mean_abs, spread, worst_N))
    max_relative, max_abs, mean_abs, spread, worst_N = max(
        found, key=lambda each: math.inf if math.isnan(each[0]) else each[0]
    )
    metrics: list[float | None] = [None, None]
    known = [part.findings for part in parts if part.findings is not None]
    if known:
        metrics = [task.metrics(joined([each[side] for each in known]))[task.primary] for side in (0, 1)]
    return ParityReport(
        samples=len(worst_N),
        max_abs=max_abs,
        mean_abs=mean_abs,
        spread=spread,
        max_relative=max_relative,
        agreement=float(np.concatenate([part.alike for part in parts]).mean()),
        metric_reference=metrics[0],
        metric_candidate=metrics[1],
        metric_name=task.primary,
        metric_unit=task.metric(task.primary).unit,
        worst=_worst(worst_N),
    )


def _spread(parts: Sequence[tuple[int, float, float]]) -> float:
    """Standard deviation of several parts together (Chan, Golub and LeVeque 1983)."""
    count, mean, deviation = parts[0]
    for more, theirs, beside in parts[1:]:
        apart, both = theirs - mean, count + more
        variance = (deviation**2 * count + beside**2 * more + apart**2 * count * more / both) / both
        count, mean, deviation = both, mean + apart * more / both, math.sqrt(variance)
    return deviation


def _relative(difference: float, spread: float) -> float:
    """`difference / spread`; constant outputs have no spread, so any difference from them is infinitely large."""
    if spread == 0.0:
        return 0.0 if difference == 0.0 else math.inf
    return difference / spread


def _worst(differences_N: NDArray[np.float64]) -> tuple[tuple[int, float], ...]:
    order = np.argsort(-np.nan_to_num(differences_N, nan=np.inf, posinf=np.inf), kind="stable")[:_WORST_KEPT]
    return tuple((int(position), float(differences_N[position])) for position in order)

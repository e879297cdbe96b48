"""How far a converted model is from the one it came from, on real data.

Differences are stated as a share of the spread of the reference outputs: a difference of 0.01 is nothing to logits that
range over 20, and everything to logits that range over 0.02.

Shape letters: N samples, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor.errors import ParityError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressor.tasks._contract import Task

_WORST_KEPT = 5
_ROUNDING = 1e-9  # one of a thousand is allowed to be one of a thousand


@dataclass(frozen=True)
class ParityReport:
    """The difference between two sets of outputs for the same samples.

    Attributes:
        samples: How many were compared.
        max_abs: Largest difference of an output.
        mean_abs: Mean difference of an output.
        spread: Standard deviation of all reference outputs.
        max_relative: `max_abs` as a share of `spread`.
        agreement: Share of samples on which both decide the same.
        metric_reference: The task's primary metric of the reference; None where no sample has a label.
        metric_candidate: The task's primary metric of the candidate; None likewise.
        metric_name: Its name.
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
    reference_NK: NDArray[Any], candidate_NK: NDArray[Any], *, task: Task, labels: NDArray[Any] | None
) -> ParityReport:
    """Compare the outputs of two models for the same samples, in float64.

    Args:
        reference_NK: Of the model that was there before.
        candidate_NK: Of the one that is to stand for it.
        task: What outputs mean.
        labels: Of the samples; None where they have none, and then no metric is compared.

    Raises:
        ParityError: The outputs differ in shape, or there are none.
        DataError: Outputs and labels do not fit together.
    """
    if reference_NK.shape != candidate_NK.shape or not reference_NK.size:
        raise ParityError(f"outputs {list(candidate_NK.shape)} cannot be compared with {list(reference_NK.shape)}")
    reference, candidate = reference_NK.astype(np.float64), candidate_NK.astype(np.float64)
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and NaN fails
        differences_NK = np.abs(candidate - reference)
        spread = float(reference.std())
    max_abs = float(differences_NK.max())
    return ParityReport(
        samples=len(reference),
        max_abs=max_abs,
        mean_abs=float(differences_NK.mean()),
        spread=spread,
        max_relative=_relative(max_abs, spread),
        agreement=task.agreement(reference_NK, candidate_NK),
        metric_reference=None if labels is None else task.metrics(reference_NK, labels)[task.primary],
        metric_candidate=None if labels is None else task.metrics(candidate_NK, labels)[task.primary],
        metric_name=task.primary,
        worst=_worst(differences_NK.max(axis=1)),
    )


def _relative(difference: float, spread: float) -> float:
    """`difference / spread`; constant outputs have no spread, so any difference from them is infinitely large."""
    if spread == 0.0:
        return 0.0 if difference == 0.0 else math.inf
    return difference / spread


def _worst(differences_N: NDArray[np.float64]) -> tuple[tuple[int, float], ...]:
    order = np.argsort(-np.nan_to_num(differences_N, nan=np.inf, posinf=np.inf), kind="stable")[:_WORST_KEPT]
    return tuple((int(position), float(differences_N[position])) for position in order)

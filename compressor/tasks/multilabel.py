"""Several classes for one sample: each of K classes is there or not, by itself.

Each class is decided by the sign of its logit. A set of classes is told as one number (`label_sets`).
A row that holds a NaN decides nothing: it is counted wrong and agrees with no other row.

Shape letters: N samples, B batch, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compressor import label_sets
from compressor.errors import DataError, ModelError
from compressor.scores import OF_SETS, RIGHT, Metric
from compressor.tasks import _calibration, _smoothing
from compressor.tasks._lost import surest_losses
from compressor.tensors import LOGITS, MEMBERS, Rows, Schema, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from compressor.scores import Findings
    from compressor.tensors import Batch

_SHARES = {"ece": Metric("ece", larger_is_better=False)}


class Multilabel:
    """Any number of the classes for each sample; judged by the share of samples of which all classes are told right."""

    primary = "subset_accuracy"
    gives = ("rows:sigmoid",)
    wording = OF_SETS

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        """Set up the task.

        Args:
            label_smoothing: share of each hard label that is moved to one half (training only)

        Raises:
            InputError: `label_smoothing` is not in 0–1 (1 excluded).
        """
        self.label_smoothing = _smoothing.checked(label_smoothing)

    def targets(self, classes: Sequence[str]) -> Schema:
        """For each sample, whether each class is there."""
        return Schema.of(TensorSpec(MEMBERS, "bool", (len(classes),)))

    def outputs(self, classes: Sequence[str], inputs: Schema) -> Schema:
        """One logit for each class."""
        return Schema.of(TensorSpec(LOGITS, "float32", (len(classes),)))

    def hard_loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Binary cross-entropy with the labels, a scalar: mean over samples and classes."""
        return self.hard_losses(outputs, targets).mean()

    def hard_losses(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Binary cross-entropy of each sample `[B]`, mean over its classes."""
        from torch.nn import functional as F

        logits_BK = outputs[LOGITS]
        there_BK = targets[MEMBERS].to(logits_BK.dtype)
        wanted_BK = there_BK * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        return F.binary_cross_entropy_with_logits(logits_BK, wanted_BK, reduction="none").mean(dim=1)

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """`[B × K, 2]`: for each class the logits of its absence, 0, and of its presence.

        Their softmax is the sigmoid of the logit, so that a loss over rows compares what is decided.
        """
        import torch

        logits_BK = outputs[LOGITS]
        present = logits_BK.reshape(-1, 1)
        both = torch.cat([torch.zeros_like(present), present], dim=1)
        return Rows(both, kind="sigmoid", per_sample=logits_BK.shape[1])

    def metric(self, name: str) -> Metric:
        """Shares in 0–1, and the loss in nats."""
        return Metric(name, "nats", larger_is_better=False) if name == "loss" else _SHARES.get(name, Metric(name))

    def findings(
        self, outputs: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Of each sample: the `logits` and `members`, and as one number (`label_sets`) the `label` and what was `decided`,
        whether all of it is `right`, and the `confidence` of all decisions together.

        The logits stay, since average precision orders them over all samples; a set of classes has 62 of them at most.

        Raises:
            DataError: Outputs and targets do not fit together, or there are none.
        """
        logits_NK, there_NK = outputs[LOGITS], targets[MEMBERS]
        _check_fit(logits_NK, there_NK)
        decided_N, label_N = _decided(logits_NK), label_sets.encode(there_NK)
        return {
            LOGITS: logits_NK,
            MEMBERS: there_NK.astype(np.bool_, copy=False),
            "label": label_N,
            "decided": decided_N,
            RIGHT: decided_N == label_N,
            "confidence": _sureness(logits_NK).prod(axis=1),
        }

    def alike(self, one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Whether both sets of outputs `[B, K]` tell the same classes, `[B]`."""
        one_BK, other_BK = one[LOGITS], other[LOGITS]
        sound_B = ~(np.isnan(one_BK).any(axis=1) | np.isnan(other_BK).any(axis=1))
        same_B: NDArray[np.bool_] = ((one_BK > 0) == (other_BK > 0)).all(axis=1) & sound_B
        return same_B

    def metrics(self, findings: Findings) -> dict[str, float]:
        """How well sets of classes are told.

        Returns:
            `subset_accuracy`, the share of samples of which every class is told right; `f1`, of all decisions together
            (micro); `map`, the mean over classes of the average precision; all in 0–1. `loss`, the mean binary
            cross-entropy in nats; `ece`, the expected calibration error of the decisions with 15 bins.
        """
        logits_NK, there_NK = findings[LOGITS], findings[MEMBERS]
        told_NK = logits_NK > 0
        both = float((there_NK & told_NK).sum())
        sums = float(there_NK.sum() + told_NK.sum())
        precisions = [_average_precision(scores, there) for scores, there in zip(logits_NK.T, there_NK.T)]
        known = [each for each in precisions if each is not None]
        wide = logits_NK.astype(np.float64)
        with np.errstate(invalid="ignore"):
            loss = np.logaddexp(0, wide) - wide * there_NK
        return {
            "subset_accuracy": float(findings[RIGHT].mean()),
            "f1": 2 * both / sums if sums else 1.0,
            "map": float(np.mean(known)) if known else 1.0,
            "loss": float(loss.mean()),
            "ece": _calibration.calibration_error(*_judged(logits_NK, there_NK)),
        }

    def per_class(self, findings: Findings, *, num_classes: int) -> list[dict[str, int | float | None]]:
        """For each class: `samples` that have it, and `accuracy`, the share of them for which it was told (None without)."""
        there_NK = findings[MEMBERS]
        hits_K = (there_NK & (findings[LOGITS] > 0)).sum(axis=0)
        return [
            {"samples": int(count), "accuracy": float(hit / count) if count else None}
            for count, hit in zip(there_NK.sum(axis=0), hits_K)
        ]

    def confusion(self, findings: Findings, num_classes: int) -> NDArray[np.int64]:
        """Counts `[class that is there, class that was told]`: one that was missed counts for each that was told falsely."""
        there_NK, told_NK = findings[MEMBERS], findings[LOGITS] > 0
        missed_NK, falsely_NK = there_NK & ~told_NK, told_NK & ~there_NK
        counts_KK = missed_NK.astype(np.int64).T @ falsely_NK.astype(np.int64)
        return counts_KK + np.diag((there_NK & told_NK).sum(axis=0))

    def against(self, base: Findings, other: Findings, *, num_classes: int) -> dict[str, Any]:
        """`sets`: for each class the samples that `both` tell to have it, and those that one of the two alone does."""
        base_NK, this_NK = base[LOGITS] > 0, other[LOGITS] > 0
        counts = ((base_NK & this_NK), (base_NK & ~this_NK), (~base_NK & this_NK))
        names = ("both", "base_alone", "this_alone")
        return {"sets": [dict(zip(names, map(int, each))) for each in zip(*(c.sum(axis=0) for c in counts))]}

    def worst(self, base: Findings, other: Findings, *, most: int) -> list[dict[str, Any]]:
        """Where the base is right and the other wrong, the surest first; sets of classes as one number each."""
        return surest_losses(base, other, most=most)

    def constants(self, findings: Findings, classes: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """The most common set of classes."""
        values, counts = np.unique(findings["label"], return_counts=True)
        most = int(values[counts.argmax()])
        yield label_sets.named(most, classes), findings["label"] == most

    def reliability(self, findings: Findings) -> list[dict[str, float]]:
        """Confidence against accuracy of the decisions on single classes, in the bins of `ece`; empty ones are left out."""
        return _calibration.reliability(*_judged(findings[LOGITS], findings[MEMBERS]))

    def applied(self) -> str:
        """What turns an output into an answer."""
        return "sigmoid for the probability of each class"

    def check_outputs(self, shape: tuple[int, ...], num_classes: int) -> None:
        """Refuse a network that does not give one logit for each of `num_classes` classes.

        Raises:
            ModelError: `shape` is not `[B, num_classes]`.
        """
        if len(shape) != 2 or shape[1] != num_classes:
            raise ModelError(
                f"the network answers with shape {list(shape)}; {num_classes} classes need [B, {num_classes}]",
                hint="return one logit for each class, before the sigmoid",
            )


def _check_fit(logits_NK: NDArray[Any], there_NK: NDArray[Any]) -> None:
    if logits_NK.ndim != 2 or there_NK.shape != logits_NK.shape:
        raise DataError(f"outputs {list(logits_NK.shape)} do not fit sets of classes {list(there_NK.shape)}")
    if not len(there_NK):
        raise DataError("there is no sample to judge", hint="give a split with at least one sample")


def _decided(logits_NK: NDArray[Any]) -> NDArray[np.int64]:
    """The set of classes with a logit above 0, `[N]`; -1 where a row holds a NaN."""
    decided_N = label_sets.encode(logits_NK > 0)
    decided_N[np.isnan(logits_NK).any(axis=1)] = -1
    return decided_N


def _average_precision(scores_N: NDArray[Any], there_N: NDArray[np.bool_]) -> float | None:
    """Sum over thresholds of the precision times what recall gains there; None without a sample of the class."""
    if not there_N.any():
        return None
    order = np.argsort(-scores_N, kind="stable")
    hits = np.cumsum(there_N[order])
    ends = np.append(np.flatnonzero(np.diff(scores_N[order])), len(order) - 1)  # equal scores are one threshold
    precision, recall = hits[ends] / (ends + 1), hits[ends] / hits[-1]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def _judged(logits_NK: NDArray[Any], there_NK: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probability of each decision on one class, and whether it is right, `[N × K]` both."""
    return _sureness(logits_NK).ravel(), ((logits_NK > 0) == there_NK).ravel()


def _sureness(logits_NK: NDArray[Any]) -> NDArray[np.float64]:
    """Probability of each decision on one class, 0.5 and more, `[N, K]`; NaN where the logit is."""
    sure_NK: NDArray[np.float64] = 1 / (1 + np.exp(-np.abs(logits_NK.astype(np.float64))))
    return sure_NK

"""Classification: each sample belongs to exactly one of K classes.

A row that holds a NaN decides nothing: it is counted wrong, agrees with no other row, and is left out of the confusion
matrix. Ties go to the lower class number.

Shape letters: N samples, B batch, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compressor.errors import DataError, ModelError
from compressor.scores import RIGHT, Metric, Wording
from compressor.tasks import _calibration, _smoothing
from compressor.tasks._lost import surest_losses
from compressor.tensors import LABEL, LOGITS, Rows, Schema, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from compressor.scores import Findings
    from compressor.tensors import Batch

_SHARES = {"ece": Metric("ece", larger_is_better=False)}
_ROWS_AT_ONCE = 8192  # float64 copies of the outputs stay below 100 MB at 1 000 classes


class Classification:
    """One class for each sample; judged by accuracy."""

    primary = "accuracy"
    gives = ("rows:softmax", "one_class")
    wording = Wording()

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        """Set up the task.

        Args:
            label_smoothing: share of each hard label spread evenly over all classes (training only)

        Raises:
            InputError: `label_smoothing` is not in 0–1 (1 excluded).
        """
        self.label_smoothing = _smoothing.checked(label_smoothing)

    def targets(self, classes: Sequence[str]) -> Schema:
        """A class number for each sample."""
        return Schema.of(TensorSpec(LABEL, "int64", ()))

    def outputs(self, classes: Sequence[str], inputs: Schema) -> Schema:
        """One row of logits for each sample."""
        return Schema.of(TensorSpec(LOGITS, "float32", (len(classes),)))

    def hard_loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy with the labels, a scalar: mean over samples."""
        from torch.nn import functional as F

        return F.cross_entropy(outputs[LOGITS], targets[LABEL], label_smoothing=self.label_smoothing)

    def hard_losses(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of each sample `[B]`."""
        from torch.nn import functional as F

        return F.cross_entropy(outputs[LOGITS], targets[LABEL], label_smoothing=self.label_smoothing, reduction="none")

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """A row `[B, K]` for each sample, as it is."""
        return Rows(outputs[LOGITS], target=batch.targets[LABEL].where(batch.labelled, -1))

    def metric(self, name: str) -> Metric:
        """Shares in 0–1, and the loss in nats."""
        return Metric(name, "nats", larger_is_better=False) if name == "loss" else _SHARES.get(name, Metric(name))

    def findings(
        self, outputs: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Of each sample: `label`, `decided`, `right`, the `loss` in nats, the `confidence` of the decided class, and of
        more than five classes whether the label is in the `top5`.

        Raises:
            DataError: Outputs and labels do not fit together, or there are none.
        """
        logits_NK, labels_N = outputs[LOGITS], targets[LABEL]
        _check_fit(logits_NK, labels_N)
        loss_N, confidence_N = _loss_and_confidence(logits_NK, labels_N)
        decided_N = _decided(logits_NK)
        found = {
            "label": labels_N,
            "decided": decided_N,
            RIGHT: decided_N == labels_N,
            "loss": loss_N,
            "confidence": confidence_N,
        }
        return found | ({"top5": _in_top(5, logits_NK, labels_N)} if logits_NK.shape[1] > 5 else {})

    def alike(self, one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Whether both sets of outputs `[B, K]` name the same class, `[B]`."""
        one_B, other_B = _decided(one[LOGITS]), _decided(other[LOGITS])
        same_B: NDArray[np.bool_] = (one_B == other_B) & (one_B >= 0)
        return same_B

    def metrics(self, findings: Findings) -> dict[str, float]:
        """Accuracy, loss and calibration.

        Returns:
            `accuracy` and (for more than five classes) `top5_accuracy` in 0–1; `loss`, the mean negative log-likelihood
            in nats; `ece`, the expected calibration error with 15 bins of equal width (Guo et al. 2017, eq. 3).
        """
        found = {
            "accuracy": float(findings[RIGHT].mean()),
            "loss": float(findings["loss"].mean()),
            "ece": _calibration.calibration_error(findings["confidence"], findings[RIGHT]),
        }
        return found | ({"top5_accuracy": float(findings["top5"].mean())} if "top5" in findings else {})

    def per_class(self, findings: Findings, *, num_classes: int) -> list[dict[str, int | float | None]]:
        """For each class: `samples`, and `accuracy`, the share of them that was recognised (None without samples)."""
        labels_N = findings["label"]
        samples = np.bincount(labels_N, minlength=num_classes)
        hits = np.bincount(labels_N[findings[RIGHT]], minlength=num_classes)
        return [
            {"samples": int(count), "accuracy": float(hit / count) if count else None}
            for count, hit in zip(samples, hits)
        ]

    def confusion(self, findings: Findings, num_classes: int) -> NDArray[np.int64]:
        """Counts `[true class, predicted class]`."""
        return _counts(findings["label"], findings["decided"], num_classes)

    def against(self, base: Findings, other: Findings, *, num_classes: int) -> dict[str, Any]:
        """`confusion`: counts `[the base's class, the other's]`; a row of the base with a NaN stands for class 0."""
        return {"confusion": _counts(np.maximum(base["decided"], 0), other["decided"], num_classes)}

    def worst(self, base: Findings, other: Findings, *, most: int) -> list[dict[str, Any]]:
        """Where the base is right and the other wrong, the surest first: `label`, and what each decides and how surely."""
        return surest_losses(base, other, most=most)

    def constants(self, findings: Findings, classes: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """The most common class."""
        values, counts = np.unique(findings["label"], return_counts=True)
        most = int(values[counts.argmax()])
        yield classes[most], findings["label"] == most

    def reliability(self, findings: Findings) -> list[dict[str, float]]:
        """Confidence against accuracy in the bins of `ece`; bins without samples are left out."""
        return _calibration.reliability(findings["confidence"], findings[RIGHT])

    def applied(self) -> str:
        """What turns an output into an answer."""
        return "softmax for probabilities"

    def check_outputs(self, shape: tuple[int, ...], num_classes: int) -> None:
        """Refuse a network whose outputs cannot be read as `num_classes` classes.

        Args:
            shape: Shape of the outputs for some batch.
            num_classes: Number of classes in the data.

        Raises:
            ModelError: `shape` is not `[B, num_classes]`.
        """
        if len(shape) != 2:
            raise ModelError(
                f"the network answers with shape {list(shape)}; classification needs [B, {num_classes}]",
                hint="return one row of logits for each sample",
            )
        if shape[1] != num_classes:
            raise ModelError(
                f"the network has {shape[1]} outputs, the data has {num_classes} classes",
                hint=f"give a network with {num_classes} outputs, or the data that it was made for",
            )


def _check_fit(logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> None:
    if logits_NK.ndim != 2 or labels_N.shape != logits_NK.shape[:1]:
        raise DataError(f"outputs {list(logits_NK.shape)} do not fit labels {list(labels_N.shape)}")
    if not len(labels_N):
        raise DataError("there is no sample to judge", hint="give a split with at least one sample")
    if labels_N.min() < 0 or labels_N.max() >= logits_NK.shape[1]:
        raise DataError(
            f"labels run from {labels_N.min()} to {labels_N.max()}, the network has {logits_NK.shape[1]} outputs",
            hint="labels are class numbers from 0",
        )


def _counts(rows_N: NDArray[Any], columns_N: NDArray[Any], num_classes: int) -> NDArray[np.int64]:
    """How often each class of the one goes with each of the other; where the other decides nothing it is left out."""
    counts_KK = np.zeros((num_classes, num_classes), dtype=np.int64)
    decided_N = columns_N >= 0
    np.add.at(counts_KK, (rows_N[decided_N], columns_N[decided_N]), 1)
    return counts_KK


def _decided(logits_NK: NDArray[Any]) -> NDArray[np.int64]:
    """The class with the largest output, `[N]`; -1 where a row holds a NaN."""
    best_N: NDArray[np.int64] = logits_NK.argmax(axis=1).astype(np.int64)
    best_N[np.isnan(logits_NK).any(axis=1)] = -1
    return best_N


def _in_top(count: int, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether fewer than `count` classes stand before the label; among equals the lower number stands first."""
    own_N1 = np.take_along_axis(logits_NK, labels_N[:, None], axis=1)
    lower_NK = np.arange(logits_NK.shape[1])[None, :] < labels_N[:, None]
    before_NK = (logits_NK > own_N1) | ((logits_NK == own_N1) & lower_NK)
    within: NDArray[np.bool_] = (before_NK.sum(axis=1) < count) & (_decided(logits_NK) >= 0)
    return within


def _loss_and_confidence(
    logits_NK: NDArray[Any], labels_N: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Negative log-likelihood of the label and probability of the decided class, `[N]` each."""
    loss_N, confidence_N = np.empty(len(labels_N)), np.empty(len(labels_N))
    for first in range(0, len(labels_N), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        with np.errstate(invalid="ignore"):  # inf - inf: an infinite output gives a NaN loss, which is what it deserves
            shifted = logits_NK[rows].astype(np.float64)
            shifted -= shifted.max(axis=1, keepdims=True)  # log-sum-exp of numbers up to 0 cannot overflow
            log_total = np.log(np.exp(shifted).sum(axis=1))
        loss_N[rows] = log_total - np.take_along_axis(shifted, labels_N[rows, None], axis=1)[:, 0]
        confidence_N[rows] = np.exp(-log_total)
    return loss_N, confidence_N

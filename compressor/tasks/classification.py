"""Classification: each sample belongs to exactly one of K classes.

A row that holds a NaN decides nothing: it is counted wrong, agrees with no other row, and is left out of the confusion
matrix. Ties go to the lower class number.

Shape letters: N samples, B batch, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compressor.errors import DataError, ModelError
from compressor.tasks import _calibration, _smoothing
from compressor.tensors import LABEL, LOGITS, Rows, Schema, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from compressor.tensors import Batch

_ROWS_AT_ONCE = 8192  # float64 copies of the outputs stay below 100 MB at 1 000 classes


class Classification:
    """One class for each sample; judged by accuracy."""

    primary = "accuracy"

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

    def labels(self, targets: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """What outputs are judged by: class numbers `[N]`."""
        numbers_N: NDArray[np.int64] = targets[LABEL]
        return numbers_N

    def metrics(self, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> dict[str, float]:
        """Accuracy, loss and calibration of one set of outputs.

        Returns:
            `accuracy` and (for more than five classes) `top5_accuracy` in 0–1; `loss`, the mean negative log-likelihood
            in nats; `ece`, the expected calibration error with 15 bins of equal width (Guo et al. 2017, eq. 3).

        Raises:
            DataError: Outputs and labels do not fit together, or there are none.
        """
        _check_fit(logits_NK, labels_N)
        correct = self.correct(logits_NK, labels_N)
        loss_N, confidence_N = _loss_and_confidence(logits_NK, labels_N)
        found = {
            "accuracy": float(correct.mean()),
            "loss": float(loss_N.mean()),
            "ece": _calibration.calibration_error(confidence_N, correct),
        }
        if logits_NK.shape[1] > 5:
            found["top5_accuracy"] = float(_in_top(5, logits_NK, labels_N).mean())
        return found

    def per_class(
        self, logits_NK: NDArray[Any], labels_N: NDArray[Any], *, num_classes: int
    ) -> list[dict[str, int | float | None]]:
        """For each class: `samples`, and `accuracy`, the share of them that was recognised (None without samples)."""
        samples = np.bincount(labels_N, minlength=num_classes)
        hits = np.bincount(labels_N[self.correct(logits_NK, labels_N)], minlength=num_classes)
        return [
            {"samples": int(count), "accuracy": float(hit / count) if count else None}
            for count, hit in zip(samples, hits)
        ]

    def agreement(self, logits_a: NDArray[Any], logits_b: NDArray[Any]) -> float:
        """Share of samples for which both sets of outputs `[N, K]` name the same class."""
        a_N, b_N = _decided(logits_a), _decided(logits_b)
        return float(((a_N == b_N) & (a_N >= 0)).mean())

    def correct(self, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether the largest output is that of the label, `[N]`."""
        right: NDArray[np.bool_] = _decided(logits_NK) == labels_N
        return right

    def confusion(self, logits_NK: NDArray[Any], labels_N: NDArray[Any], num_classes: int) -> NDArray[np.int64]:
        """Counts `[true class, predicted class]`."""
        predicted_N = _decided(logits_NK)
        counts_KK = np.zeros((num_classes, num_classes), dtype=np.int64)
        decided_N = predicted_N >= 0
        np.add.at(counts_KK, (labels_N[decided_N], predicted_N[decided_N]), 1)
        return counts_KK

    def answers(self, logits_NK: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The class with the largest output (-1 where a row holds a NaN) and its softmax probability, `[N]` both."""
        decided_N = _decided(logits_NK)
        _, confidence_N = _loss_and_confidence(logits_NK, np.maximum(decided_N, 0))
        return decided_N, confidence_N

    def reliability(self, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> list[dict[str, float]]:
        """Confidence against accuracy in the bins of `ece`; bins without samples are left out."""
        _check_fit(logits_NK, labels_N)
        _, confidence_N = _loss_and_confidence(logits_NK, labels_N)
        return _calibration.reliability(confidence_N, self.correct(logits_NK, labels_N))

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

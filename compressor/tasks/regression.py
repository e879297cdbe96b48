"""Numbers for each sample: an age, an angle, the places of landmarks.

A row of outputs that holds a NaN is wrong and agrees with no other row.

Shape letters: N samples, B batch, K outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from compressor.errors import DataError, InputError, ModelError
from compressor.scores import OF_NUMBERS, RIGHT, Metric
from compressor.tasks._lost import WITHOUT_CLASS
from compressor.tensors import LOGITS, VALUES, Rows, Schema, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from compressor.scores import Findings
    from compressor.tensors import Batch

_T = TypeVar("_T", bound=np.generic)

_SHARE_OF_SPREAD = 0.25
_WHERE = "task.options.tolerance"


class Regression:
    """One number or several for each sample; judged by the share of samples told within a tolerance.

    Attributes:
        tolerances: How far each output may lie from its target, in the data's units, `[K]`; None before `for_spread`.
        spreads: Standard deviation of the training targets, 1 where they are all alike, `[K]`; None likewise.
    """

    primary = "within_tolerance"
    gives = ("rows:values",)
    wording = OF_NUMBERS

    def __init__(self, *, tolerance: float | Sequence[float] = 0.0) -> None:
        """Set up the task.

        Args:
            tolerance: so near to its target an output is right, in the data's unit; 0: a quarter of the targets' deviation;
                a list has one for each output

        Raises:
            InputError: `tolerance` is negative or no number.
        """
        stated: list[Any] = list(tolerance) if isinstance(tolerance, Iterable) else [tolerance]
        for each in stated:
            if isinstance(each, bool) or not isinstance(each, (int, float)) or not 0 <= each < float("inf"):
                raise InputError(
                    f"tolerance = {each} must be 0 or more", where=_WHERE, hint="write a number, or a list"
                )
        self.tolerance = tolerance
        self.tolerances: NDArray[np.float64] | None = None
        self.spreads: NDArray[np.float64] | None = None
        self._kept: dict[str, Tensor] = {}

    def for_spread(self, spread_K: NDArray[Any]) -> Regression:
        """The same task on data whose targets are spread like this.

        Args:
            spread_K: Standard deviation of the training targets, of each output.

        Raises:
            InputError: The list of tolerances is not as long as there are outputs.
        """
        fitted = copy.copy(self)
        fitted._kept = {}
        wide_K = np.asarray(spread_K, np.float64)
        fitted.spreads = np.where(wide_K > 0, wide_K, 1.0)
        stated_K = np.asarray(self.tolerance, np.float64)
        if stated_K.ndim and len(stated_K) != len(wide_K):
            message = f"{len(stated_K)} tolerances for {len(wide_K)} numbers"
            raise InputError(message, where=_WHERE, hint="write one for each, or one for all")
        fitted.tolerances = np.where(stated_K > 0, stated_K, _SHARE_OF_SPREAD * fitted.spreads)
        return fitted

    def targets(self, classes: Sequence[str]) -> Schema:
        """As many numbers for each sample as have names."""
        return Schema.of(TensorSpec(VALUES, "float32", (len(classes),)))

    def outputs(self, classes: Sequence[str], inputs: Schema) -> Schema:
        """Likewise, in the unit of the targets."""
        return Schema.of(TensorSpec(LOGITS, "float32", (len(classes),)))

    def hard_loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Mean squared error in units of the spread of the training targets, a scalar: mean over samples and outputs."""
        return self.hard_losses(outputs, targets).mean()

    def hard_losses(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """The same for each sample, `[B]`."""
        found_BK, wanted_BK = outputs[LOGITS], targets[VALUES]
        return ((self._scaled(found_BK) - self._scaled(wanted_BK.to(found_BK.dtype))) ** 2).mean(dim=1)

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """The outputs `[B, K]` in units of the spread of the training targets, so that each counts alike."""
        return Rows(self._scaled(outputs[LOGITS]), kind="values")

    def _scaled(self, values: Tensor) -> Tensor:
        return values / self._spread_beside(values)

    def metric(self, name: str) -> Metric:
        """`within_tolerance` is a share; errors are in the unit of the data, which nobody has stated."""
        if name == "within_tolerance":
            return Metric(name)
        return Metric(name, "", larger_is_better=name == "r2")

    def findings(
        self, outputs: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Of each sample: its outputs (`logits`), its targets (`values`), and whether all of them are near enough (`right`).

        Raises:
            DataError: Outputs and targets do not fit together, or there are none.
        """
        logits_NK, values_NK = outputs[LOGITS], targets[VALUES]
        near_NK = self._near(logits_NK, self._of(logits_NK, values_NK))
        return {LOGITS: logits_NK, VALUES: values_NK, RIGHT: np.asarray(near_NK.all(axis=1))}

    def alike(self, one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Whether no output of the two sets `[B, K]` is further apart than the tolerance, `[B]`."""
        return np.asarray(self._near(one[LOGITS], other[LOGITS]).all(axis=1))

    def metrics(self, findings: Findings) -> dict[str, float]:
        """How near outputs come to their targets.

        Returns:
            `within_tolerance`, the share of samples of which every output is (0–1); `r2`, the share of the targets' variance
            that is explained (1 at best, below 0 for worse than their mean), mean over outputs; `mae` and `rmse`, in the
            data's units, mean over outputs; `loss`, as in training.
        """
        logits_NK = findings[LOGITS]
        targets_NK = self._of(logits_NK, findings[VALUES])
        errors_NK = logits_NK.astype(np.float64) - targets_NK
        squares_K = (errors_NK**2).mean(axis=0)
        variance_K = targets_NK.var(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            unexplained_K = np.where(squares_K == 0, 0.0, np.where(variance_K > 0, squares_K / variance_K, 1.0))
        return {
            "within_tolerance": float(findings[RIGHT].mean()),
            "r2": float(1 - unexplained_K.mean()),
            "mae": float(np.abs(errors_NK).mean()),
            "rmse": float(np.sqrt(squares_K).mean()),
            "loss": float((squares_K / self._fitted(self.spreads) ** 2).mean()),
        }

    def per_class(self, findings: Findings, *, num_classes: int) -> list[dict[str, int | float | None]]:
        """For each output: `samples`, `accuracy`, the share of them that is within the tolerance, and its own `mae`."""
        logits_NK = findings[LOGITS]
        targets_NK = self._of(logits_NK, findings[VALUES])
        apart_K = np.abs(logits_NK.astype(np.float64) - targets_NK).mean(axis=0)
        near_K = self._near(logits_NK, targets_NK).mean(axis=0)
        return [
            {"samples": len(logits_NK), "accuracy": float(near), "mae": float(apart)}
            for near, apart in zip(near_K, apart_K)
        ]

    def confusion(self, findings: Findings, num_classes: int) -> None:
        """Nothing: numbers are not taken for one another."""

    def against(self, base: Findings, other: Findings, *, num_classes: int) -> dict[str, Any]:
        """Nothing, likewise."""
        return {}

    def worst(self, base: Findings, other: Findings, *, most: int) -> list[dict[str, Any]]:
        """Where the base is right and the other wrong, the furthest from the target first.

        Of each: `position`, and in `numbers` the targets, the base's outputs and the other's.
        """
        lost_N = np.flatnonzero(base[RIGHT] & ~other[RIGHT])
        order = lost_N[np.argsort(-np.nan_to_num(self.errors(other)[lost_N]), kind="stable")][:most]
        return [
            {
                "position": position,
                **WITHOUT_CLASS,
                "numbers": [
                    [float(value) for value in np.nan_to_num(rows_NK[position])]
                    for rows_NK in (other[VALUES], base[LOGITS], other[LOGITS])
                ],
            }
            for position in order.tolist()
        ]

    def constants(self, findings: Findings, classes: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """The mean and the median of the targets."""
        targets_NK = findings[VALUES].astype(np.float64)
        for name, row_K in (("mean", targets_NK.mean(axis=0)), ("median", np.median(targets_NK, axis=0))):
            told_NK = np.broadcast_to(row_K.astype(np.float32), targets_NK.shape)
            yield f"the {name} of the targets", np.asarray(self._near(told_NK, targets_NK).all(axis=1))

    def reliability(self, findings: Findings) -> list[dict[str, float]]:
        """Nothing: a number says not how sure it is."""
        return []

    def errors(self, findings: Findings) -> NDArray[np.float64]:
        """How far the worst output of each sample lies from its target, in tolerances, `[N]`."""
        logits_NK = findings[LOGITS]
        apart_NK = np.abs(logits_NK.astype(np.float64) - self._of(logits_NK, findings[VALUES]))
        found_N: NDArray[np.float64] = (apart_NK / self._fitted(self.tolerances)).max(axis=1)
        return found_N

    def applied(self) -> str:
        """What turns an output into an answer."""
        return "nothing: numbers in the unit of the training data"

    def check_outputs(self, shape: tuple[int, ...], num_classes: int) -> None:
        """Refuse a network that does not give `num_classes` numbers for each sample.

        Raises:
            ModelError: `shape` is not `[B, num_classes]`.
        """
        if len(shape) != 2 or shape[1] != num_classes:
            raise ModelError(
                f"the network answers with shape {list(shape)}; {num_classes} numbers need [B, {num_classes}]",
                hint="give num_classes numbers for each sample (outputs are called classes in a builder)",
            )

    def _of(self, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> NDArray[np.float64]:
        if not len(labels_N):
            raise DataError("there is no sample to judge", hint="give a split with at least one sample")
        targets_NK: NDArray[np.float64] = labels_N.astype(np.float64)
        if logits_NK.shape != targets_NK.shape:
            raise DataError(f"outputs {list(logits_NK.shape)} do not fit targets {list(targets_NK.shape)}")
        return targets_NK

    def _near(self, one_NK: NDArray[Any], other_NK: NDArray[Any]) -> NDArray[np.bool_]:
        with np.errstate(invalid="ignore"):
            apart_NK = np.abs(one_NK.astype(np.float64) - other_NK)
        return np.asarray(apart_NK <= self._fitted(self.tolerances))

    def _spread_beside(self, values: Tensor) -> Tensor:
        """The spread of each output where these are, and of their type."""
        place = str(values.device)
        if place not in self._kept:
            import torch

            self._kept[place] = torch.as_tensor(self._fitted(self.spreads), dtype=torch.float32, device=values.device)
        return self._kept[place].to(values.dtype)

    @staticmethod
    def _fitted(values: NDArray[_T] | None) -> NDArray[_T]:
        if values is None:
            raise DataError(
                "this task takes numbers, and the data has none", hint="give y_train as floats [N] or [N, K]"
            )
        return values

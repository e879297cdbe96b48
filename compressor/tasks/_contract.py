"""What every task offers: a loss for training, and judgement of stored outputs in NumPy.

Shape letters: N samples, B batch, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Task(Protocol):
    """What the outputs of a network mean."""

    @property
    def primary(self) -> str:
        """The metric that budgets and reports are about; a key of `metrics`, in 0–1, larger is better."""
        ...

    @property
    def label_sets(self) -> bool:
        """Whether a label is a set of classes (`compressor.label_sets`); a user's task without this takes one class."""
        ...

    def hard_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss against the labels alone; a scalar, mean over the batch."""
        ...

    def hard_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The same for each sample, `[B]`, linear in a one-hot label so that views can mix samples."""
        ...

    def decisions(self, logits: Tensor) -> Tensor:
        """Rows of decisions `[N, K]` that logit losses compare."""
        ...

    def metrics(self, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> dict[str, float]:
        """Every metric of the task over one set of outputs, computed in float64."""
        ...

    def per_class(
        self, logits_NK: NDArray[Any], labels_N: NDArray[Any], *, num_classes: int
    ) -> list[dict[str, int | float | None]]:
        """For each class: `samples`, and `accuracy` among them (None when there are none)."""
        ...

    def agreement(self, logits_a: NDArray[Any], logits_b: NDArray[Any]) -> float:
        """Share of samples on which two sets of outputs decide the same."""
        ...

    def correct(self, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether each decision is right, `[N]`."""
        ...

    def confusion(self, logits_NK: NDArray[Any], labels_N: NDArray[Any], num_classes: int) -> NDArray[np.int64] | None:
        """Counts `[true, predicted]`; None where there are no classes."""
        ...

    def answers(self, logits_NK: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The class that each row decides for (-1 for none) and its probability in 0–1, `[N]` both."""
        ...

    def reliability(self, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> list[dict[str, float]]:
        """For each bin of confidence that is not empty: `low`, `high`, `samples`, mean `confidence` and `accuracy`."""
        ...

    def check_outputs(self, shape: tuple[int, ...], num_classes: int) -> None:
        """Raise `ModelError` when a network that answers with `shape` cannot serve `num_classes` classes."""
        ...


@runtime_checkable
class NumberTask(Task, Protocol):
    """A task of which the outputs are K numbers and no classes: a label is the row of a sample in a table of targets.

    Its class says `of_numbers = True`, so that a recipe can be checked without running it.
    """

    tolerance: float | Sequence[float]
    """How far an output may lie from its target, as it was stated; 0 where that follows from the data."""
    tolerances: NDArray[np.float64] | None
    """The same for each output, once the task is fitted."""
    spreads: NDArray[np.float64] | None
    """Standard deviation of the training targets, once the task is fitted."""

    def for_targets(self, targets_MK: NDArray[np.float32], spread_K: NDArray[Any]) -> NumberTask:
        """The task on data with these targets, and with this standard deviation of each output in training."""
        ...

    def targets(self, labels_N: NDArray[Any]) -> NDArray[np.float32]:
        """The targets `[N, K]` that labels stand for."""
        ...

    def errors(self, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> NDArray[np.float64]:
        """How far the worst output of each sample lies from its target, in tolerances, `[N]`."""
        ...

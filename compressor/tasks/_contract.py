"""What every task offers: a loss for training, and judgement of stored outputs in NumPy.

Shape letters: N samples, B batch, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from compressor.tensors import MEMBERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from compressor.tensors import Batch, Rows, Schema


class Task(Protocol):
    """What the outputs of a network mean."""

    @property
    def primary(self) -> str:
        """The metric that budgets and reports are about; a key of `metrics`, in 0–1, larger is better."""
        ...

    def targets(self, classes: Sequence[str]) -> Schema:
        """What data must know of a sample that it is trained on or judged by."""
        ...

    def outputs(self, classes: Sequence[str], inputs: Schema) -> Schema:
        """What a network must return for a sample with these inputs."""
        ...

    def hard_loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Loss against the targets alone; a scalar, mean over the batch."""
        ...

    def hard_losses(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """The same for each sample, `[B]`, linear in a one-hot label so that views can mix samples."""
        ...

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """What logit losses compare."""
        ...

    def labels(self, targets: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """What outputs are judged by, `[N]` or `[N, ...]`; what the methods below call labels."""
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
    """A task of which the outputs are K numbers and no classes.

    Its class says `of_numbers = True`, so that a recipe can be checked without running it.
    """

    tolerance: float | Sequence[float]
    """How far an output may lie from its target, as it was stated; 0 where that follows from the data."""
    tolerances: NDArray[np.float64] | None
    """The same for each output, once the task is fitted."""
    spreads: NDArray[np.float64] | None
    """Standard deviation of the training targets, once the task is fitted."""

    def for_spread(self, spread_K: NDArray[Any]) -> NumberTask:
        """The task on data with this standard deviation of each target in training."""
        ...

    def errors(self, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> NDArray[np.float64]:
        """How far the worst output of each sample lies from its target, in tolerances, `[N]`."""
        ...


def tells_sets(task: Task) -> bool:
    """Whether a sample may have several classes; which targets a task wants does not hang on what its classes are called.

    A class that says `label_sets = True` besides is known as such to `compress check`, which does not run it.
    """
    return MEMBERS in task.targets(())

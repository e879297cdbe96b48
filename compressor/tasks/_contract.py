"""What every task offers: a loss for training, and judgement of outputs in NumPy, batch by batch.

Shape letters: N samples, B batch, K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from compressor.scores import Wording

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from compressor.scores import Findings, Metric
    from compressor.tensors import Batch, Rows, Schema


class Task(Protocol):
    """What the outputs of a network mean."""

    @property
    def gives(self) -> tuple[str, ...]:
        """What its outputs and targets are, in the words of `recipe.capabilities`: losses and teachers that need others are
        refused. Written out in the class, so that a recipe is checked without running it."""
        ...

    @property
    def wording(self) -> Wording:
        """What a report calls its results."""
        ...

    @property
    def primary(self) -> str:
        """The metric that budgets and reports are about; a key of `metrics`."""
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

    def metric(self, name: str) -> Metric:
        """What the metric of that name means, and in which unit it is told."""
        ...

    def findings(
        self, outputs: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """What is kept of the outputs for a batch: columns, one row for each sample, from which all below follows.

        A task of which a sample is told right or wrong as a whole has the column `right`, bool.

        Raises:
            DataError: Outputs and targets do not fit together, or there are none.
        """
        ...

    def alike(self, one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """How much of what two models decide is the same, for each sample `[B]`, in 0–1."""
        ...

    def metrics(self, findings: Findings) -> dict[str, float]:
        """Every metric of the task, computed in float64."""
        ...

    def per_class(self, findings: Findings, *, num_classes: int) -> list[dict[str, int | float | None]]:
        """For each class: `samples`, and `accuracy` among them (None when there are none)."""
        ...

    def confusion(self, findings: Findings, num_classes: int) -> NDArray[np.int64] | None:
        """Counts `[true, predicted]`; None where there are no classes."""
        ...

    def against(self, base: Findings, other: Findings, *, num_classes: int) -> dict[str, Any]:
        """How the decisions of two models on the same samples go together, as tables: what a report shows of it.

        `confusion`: counts `[the base's class, the other's]`; `sets`: for each class the samples that `both` tell to have
        it, `base_alone` or `this_alone`. What a task has no such table for is left out.
        """
        ...

    def worst(self, base: Findings, other: Findings, *, most: int) -> list[dict[str, Any]]:
        """The samples on which a model is worse than the base, the worst first: `position`, and what a report says of it."""
        ...

    def constants(self, findings: Findings, classes: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Answers that need no look at a sample, in words, and whether each would be right, `[N]`; the best comes first
        among equals. Nothing where no sample is right or wrong as a whole."""
        ...

    def reliability(self, findings: Findings) -> list[dict[str, float]]:
        """For each bin of confidence that is not empty: `low`, `high`, `samples`, mean `confidence` and `accuracy`."""
        ...

    def applied(self) -> str:
        """What turns an output into an answer, in words for whoever deploys it."""
        ...

    def check_outputs(self, shape: tuple[int, ...], num_classes: int) -> None:
        """Raise `ModelError` when a network that answers with `shape` cannot serve `num_classes` classes."""
        ...


class TaskBase:
    """What a task of one's own may leave as it is: no classes, no table of them, nothing shown beside the metric.

    What is left to write: `primary`, `gives`, `targets`, `outputs`, `hard_losses`, `rows`, `metric`, `findings`, `alike`,
    `metrics`, `applied` and `check_outputs`; perhaps `wording`; and `statistics` with `of_sums` (`SummedTask`), which give
    the metric its interval.
    """

    wording = Wording(
        one="output",
        many="outputs",
        purpose=" of {names}",
        output="what the task calls its outputs",
        variable="outputs",
        reading="# for each sample: {names}",
    )

    if TYPE_CHECKING:

        def hard_losses(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
            """Written by the task."""
            ...

    def hard_loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """The mean over the batch, a scalar."""
        return self.hard_losses(outputs, targets).mean()

    def per_class(self, findings: Findings, *, num_classes: int) -> list[dict[str, int | float | None]]:
        """Nothing."""
        return []

    def confusion(self, findings: Findings, num_classes: int) -> NDArray[np.int64] | None:
        """None."""
        return None

    def against(self, base: Findings, other: Findings, *, num_classes: int) -> dict[str, Any]:
        """Nothing."""
        return {}

    def worst(self, base: Findings, other: Findings, *, most: int) -> list[dict[str, Any]]:
        """Nothing."""
        return []

    def constants(self, findings: Findings, classes: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Nothing: no sample is right or wrong as a whole."""
        return iter(())

    def reliability(self, findings: Findings) -> list[dict[str, float]]:
        """Nothing."""
        return []


@runtime_checkable
class NumberTask(Task, Protocol):
    """A task that gives `rows:values`: K numbers, each with a tolerance that follows from the data."""

    tolerance: float | Sequence[float]
    """How far an output may lie from its target, as it was stated; 0 where that follows from the data."""
    tolerances: NDArray[np.float64] | None
    """The same for each output, once the task is fitted."""
    spreads: NDArray[np.float64] | None
    """Standard deviation of the training targets, once the task is fitted."""

    def for_spread(self, spread_K: NDArray[Any]) -> NumberTask:
        """The task on data with this standard deviation of each target in training."""
        ...

    def errors(self, findings: Findings) -> NDArray[np.float64]:
        """How far the worst output of each sample lies from its target, in tolerances, `[N]`."""
        ...


@runtime_checkable
class PicturedTask(Task, Protocol):
    """A task of which the outputs for a picture are shown as pictures."""

    def pictured(
        self,
        pictures: NDArray[np.uint8],
        targets: Mapping[str, NDArray[Any]],
        base: Mapping[str, NDArray[Any]],
        other: Mapping[str, NDArray[Any]],
    ) -> NDArray[np.uint8]:
        """Pictures `[B, 3, H, W]` beside what is true of them and what two models tell, `[B, 3, 2 H, 2 W]`."""
        ...


@runtime_checkable
class SummedTask(Task, Protocol):
    """A task whose metric is no share of right samples, but follows from sums over samples: mean IoU, say.

    So that its metric has an interval and a paired test as well: samples are drawn again, and sums are all it takes.
    """

    def statistics(self, findings: Findings) -> NDArray[np.float64]:
        """What is summed of each sample, `[N, S]`."""
        ...

    def of_sums(self, sums_RS: NDArray[np.float64]) -> NDArray[np.float64]:
        """The metric `[R]` that sums over samples come to."""
        ...

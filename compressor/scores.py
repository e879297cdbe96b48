"""What the numbers of a task mean, and what is kept of a model's outputs to judge it by.

Outputs of a set are never held: as batches go by, a task reduces them to *findings*, columns with one row for each sample
(whether it was right, the class that was decided, the loss, intersections and unions by class). Every metric, table,
interval and paired test is computed from those columns. Does not import torch; packs carry it.

Shape letters: N samples, S statistics of a sample, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Findings = Mapping[str, NDArray[Any]]
    """Columns by name, each `[N, ...]`: what a task keeps of a model's outputs."""

RIGHT = "right"
"""The column bool `[N]` of a task of which a sample is told right or wrong as a whole."""


@dataclass(frozen=True)
class Wording:
    """What a report calls the results of a task.

    Attributes:
        one: What each name of the data (`classes`) is of.
        many: Several of these.
        score: What the score of each is called.
        counted: What is counted of each.
        counts_as: What the counted ones have in common, in the caption of these scores.
        decided: What a probability belongs to.
        purpose: What samples are brought to, where the card tells the intended use; `{count}` and `{names}` are the data's.
        output: What an exported model gives for a batch, in words.
        variable: What the card calls that in code.
        reading: The line of Python that reads it; `{names}` stands for the data's.
    """

    one: str = "class"
    many: str = "classes"
    score: str = "Accuracy"
    counted: str = "samples"
    counts_as: str = "test samples in a class"
    decided: str = "samples"
    purpose: str = " into {count} classes"
    output: str = "one row of logits for each sample"
    variable: str = "logits"
    reading: str = "answer = logits.argmax(axis=1)  # class names are in the model's metadata: compress.classes"


OF_SETS = Wording(
    score="Recall",
    decided="decisions",
    reading="there = logits > 0  # of each class, whose names are in the model's metadata: compress.classes",
)
"""Of a task that tells sets of classes."""
OF_NUMBERS = Wording(
    one="number",
    many="numbers",
    score="Share within the tolerance",
    counts_as="test samples for each number, right where it is within its tolerance",
    purpose=" of {names}",
    output="one row of numbers for each sample",
    variable="numbers",
    reading="# one row for each sample: {names}, in the unit of the training data",
)
"""Of a task that tells numbers."""


@dataclass(frozen=True)
class Metric:
    """What a number of a task means, and how it is told.

    Attributes:
        name: A key of `Task.metrics`.
        unit: `%` for a share in 0–1, which is shown times 100 and differs by points; else a unit, or nothing.
        larger_is_better: Whether more of it is better.
    """

    name: str
    unit: str = "%"
    larger_is_better: bool = True

    @property
    def is_share(self) -> bool:
        """Whether it is a share in 0–1."""
        return self.unit == "%"

    @property
    def words(self) -> str:
        """Its name in a sentence: `subset accuracy`."""
        return self.name.replace("_", " ")

    @property
    def title(self) -> str:
        """Its name at the head of a column: `Subset accuracy`."""
        return self.words[:1].upper() + self.words[1:]

    def gain(self, change: float) -> float:
        """A change of the metric as what is gained by it: above 0 where it is for the better."""
        return change if self.larger_is_better else 0.0 - change

    def shown(self, value: float) -> str:
        """A value in words: `91.25 %`, `0.1234 m`."""
        if self.is_share:
            return f"{100 * value:.2f} %"
        return f"{value:.4g} {self.unit}".rstrip()

    def shown_range(self, low: float, high: float) -> str:
        """An interval in words, without its unit: `90.1–92.3`, `0.0912–0.1034`."""
        return f"{100 * low:.1f}–{100 * high:.1f}" if self.is_share else f"{low:.4g}–{high:.4g}"

    def drop(self, before: float, after: float) -> float:
        """How much worse `after` is than `before`, in points for a share and else in the metric's unit; below 0: better."""
        worse = before - after if self.larger_is_better else after - before
        return points(worse) if self.is_share else worse

    def shown_drop(self, drop: float) -> str:
        """A difference in words: `1.25 points`, `0.02 m`."""
        return f"{drop:.2f} points" if self.is_share else f"{drop:.3g} {self.unit}".rstrip()

    def as_json(self) -> dict[str, Any]:
        """What measurements keep."""
        return {"name": self.name, "unit": self.unit, "larger_is_better": self.larger_is_better}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Metric:
        """What `as_json` wrote."""
        return cls(str(kept["name"]), str(kept["unit"]), bool(kept["larger_is_better"]))


def points(share: float) -> float:
    """A difference of shares in points; one of exactly a point is 1, which 100 · (0.95 − 0.94) is not."""
    return round(100 * share, 9)


def joined(parts: Sequence[Findings]) -> dict[str, NDArray[Any]]:
    """Columns of several batches as those of all their samples, in order."""
    import numpy as np  # a command that only tells a metric in words does without

    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

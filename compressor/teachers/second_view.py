"""Two looks at every sample: R-Drop, Liang et al. 2021 (arXiv 2106.14448), equations 1 to 3; SD-Dropout, 2208.05642."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from compressor.teachers._contract import Lesson, Showing, Teacher
from compressor.tensors import Batch, Outputs

_ANOTHER = 1 << 20  # further views than any run has epochs


class SecondView(Teacher):
    """No other network: what the student says of the same sample seen another way (R-Drop, SD-Dropout).

    Each step shows every sample twice, in two views and under two dropout masks, and each of the two answers is the
    other's target, which makes the divergence symmetric as in R-Drop's equation 2. Targets carry no gradients. A step
    costs twice as much.

    Args:
        views: two views; otherwise the same picture twice, so that dropout alone makes the difference
    """

    needs = ("labels",)
    gives = ("changing",)
    usual: ClassVar[Mapping[str, Any]] = {"name": "kd", "temperature": 1.0, "alpha": 0.5}

    def __init__(self, *, views: bool = True) -> None:
        self.views = views

    def shown(self, showing: Showing) -> Batch:
        """All samples in the view of the epoch, then all of them again."""
        first = showing.batch
        second = showing.another_view(first.view + _ANOTHER) if self.views else first
        return first.joined(second)

    def lessons(self, batch: Batch, student: Outputs) -> Sequence[Lesson]:
        """Each half learns from the other."""
        half = len(batch) // 2
        swapped = student.changed(lambda tensor: tensor.detach().roll(half, dims=0))
        return (Lesson(student, swapped, batch),)

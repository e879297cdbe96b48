"""Which view of a sample an epoch shows: one of a counted set, so that a teacher's answers can be kept, or a fresh one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compressor.artifact import Decision
from compressor.views._compose import Views

_EPOCHS_FOR_EACH_VIEW = 4


@dataclass(frozen=True)
class ViewPlan:
    """The views of a run.

    Attributes:
        views: What a view does to a sample.
        count: Views of each sample, shown in turn; 0 for a fresh view in every epoch.
        seed: Of the views. That of the data settings when they are counted, so that runs of all seeds show the same
            ones and share a teacher's answers; that of the run when they are fresh.
    """

    views: Views
    count: int
    seed: int

    def number(self, epoch: int) -> int:
        """The view that an epoch shows."""
        return epoch % self.count if self.count else epoch


def choose_count(
    wanted: int | Literal["auto"], *, epochs: int, bytes_per_view: int | None, budget_bytes: int
) -> tuple[int, tuple[Decision, ...]]:
    """How many views of each sample a distillation shows.

    Args:
        wanted: As stated; 0 for fresh views.
        epochs: Of the run.
        bytes_per_view: Disk that the teacher's answers to one view of every sample take; None where they cannot be kept.
        budget_bytes: Disk for all of them.

    Returns:
        The count, 0 for fresh views; and why, when it was `auto`.
    """
    if wanted != "auto":
        return wanted, ()
    if bytes_per_view is None:
        reason = (
            "the teacher's answers have no size of their own that could be kept, so views need not come round again"
        )
        return 0, (Decision("data.views.count", "0 (fresh views)", reason),)
    affordable = budget_bytes // max(1, bytes_per_view)
    if affordable < 1:
        reason = (
            f"the answers to one view take {bytes_per_view / 1e9:.2f} GB, distill.cache_gb is {budget_bytes / 1e9:g}"
        )
        return 0, (Decision("data.views.count", "0 (fresh views)", reason),)
    useful = -(-epochs // _EPOCHS_FOR_EACH_VIEW)
    count = min(useful, affordable)
    reason = f"each is shown in {epochs / count:.3g} of {epochs} epochs; the teacher answers each once"
    if count < useful:
        reason += f"; more than {affordable} do not fit into distill.cache_gb = {budget_bytes / 1e9:g}"
    return count, (Decision("data.views.count", str(count), reason),)

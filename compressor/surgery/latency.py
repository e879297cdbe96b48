"""Which channels to give up for a latency: a table of measured times, and the cheapest way down to a target.

Multiply-adds do not tell the time of a layer (Torch-Pruning's own table has 3.85 times fewer for 2.2 times the speed), so
what a narrower group saves is measured, once for each shape of group, on the machine and under the profile that count, as in
NetAdapt (Yang et al. 2018, arXiv 1804.03230), which this follows in adding up the savings of layers. The sum is a
prediction: whoever cuts by it measures the result.

NumPy only. Not covered: the measuring (`stages/prune.py`).
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressor.surgery.units import Units, step_of


@dataclass(frozen=True)
class LatencyTable:
    """What narrower groups save.

    Attributes:
        saved_ms: Name of a group -> width in units -> milliseconds saved, 0 at the width it had when this was measured.
    """

    saved_ms: Mapping[str, Mapping[int, float]]

    @classmethod
    def from_plain(cls, saved_ms: Mapping[str, Mapping[str, float]]) -> LatencyTable:
        """From what JSON made of it, whose keys are text."""
        return cls({name: {int(width): ms for width, ms in known.items()} for name, known in saved_ms.items()})

    def saving(self, name: str, width: int) -> float:
        """Milliseconds saved at `width`, interpolated linearly; a narrower group never counts as slower than a wider one."""
        known = self.saved_ms.get(name, {width: 0.0})
        widths = sorted(known)
        savings = np.maximum.accumulate([known[each] for each in reversed(widths)])[::-1]
        return float(np.interp(width, widths, savings))


def steps_of(group: Units, *, round_to: int, least: float) -> list[int]:
    """The widths in units that a group may have, narrowest first: multiples of `round_to` channels, and as it is now."""
    step = step_of(group, round_to=round_to)
    lowest = max(1, int(np.ceil(least * group.width)))
    return sorted({width for width in range(step, group.width, step) if width >= lowest} | {group.width})


def plan(
    groups: Sequence[Units],
    scores: Mapping[str, NDArray[np.float64]],
    table: LatencyTable,
    *,
    save_ms: float,
    round_to: int,
    least: float = 0.1,
) -> dict[str, NDArray[np.int64]]:
    """Which units of each group to keep so that about `save_ms` is saved, giving up as little importance as possible.

    From full width, again and again the step is taken that loses the least importance for each millisecond that it saves;
    the importance of a unit is its score over the mean score of its group. When nothing saves time any more, that is all.

    Args:
        groups: What can be cut.
        scores: `[width]` for each group by name.
        table: What cuts save.
        save_ms: Milliseconds to save.
        round_to: Widths in channels are multiples of it.
        least: Smallest share of a group's units that stays.

    Returns:
        Positions to keep, sorted, for each group that is cut.
    """
    by_name = {group.name: group for group in groups}
    losses = {name: _loss_by_width(scores[name]) for name in by_name}
    widths = {name: group.width for name, group in by_name.items()}
    allowed = {name: steps_of(group, round_to=round_to, least=least) for name, group in by_name.items()}
    queue = [step for name in by_name if (step := _next_step(name, widths, allowed, losses, table))]
    heapq.heapify(queue)
    saved = 0.0
    while queue and saved < save_ms:
        _, name, width = heapq.heappop(queue)
        saved += table.saving(name, width) - table.saving(name, widths[name])
        widths[name] = width
        following = _next_step(name, widths, allowed, losses, table)
        if following:
            heapq.heappush(queue, following)
    return {
        name: np.sort(np.argsort(-scores[name], kind="stable")[:width])
        for name, width in widths.items()
        if width < by_name[name].width
    }


def _next_step(
    name: str,
    widths: Mapping[str, int],
    allowed: Mapping[str, Sequence[int]],
    losses: Mapping[str, NDArray[np.float64]],
    table: LatencyTable,
) -> tuple[float, str, int] | None:
    """The narrower width of a group that costs the least importance for each millisecond; None when none saves time."""
    now, found = widths[name], None
    for width in allowed[name]:
        gained = table.saving(name, width) - table.saving(name, now)
        if width < now and gained > 0:
            price = float(losses[name][width] - losses[name][now]) / gained
            found = min(found or (price, name, width), (price, name, width))
    return found


def _loss_by_width(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[width + 1]`: the importance lost when only the best `i` units stay, in means of the group."""
    relative = scores / max(float(scores.mean()), 1e-12)
    ascending = np.sort(relative)
    return np.concatenate([np.cumsum(ascending)[::-1], [0.0]])

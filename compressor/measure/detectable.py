"""What a number of samples can tell: the smallest drop of a share of right answers that is not chance.

The drop is judged by McNemar's exact test, as everywhere here: where one model alone is right about k samples and the
other about none, chance does as much once in 2^(k − 1) times.
"""

from __future__ import annotations

import math

_LEVEL = 0.05
_FEWEST = math.ceil(1 - math.log2(_LEVEL))  # 6 samples, all in one direction: 0.031; 5 would be 0.063


def smallest_drop(samples: int) -> float | None:
    """In points of 100; None where not even all the samples together could show one."""
    return 100 * _FEWEST / samples if samples >= _FEWEST else None


def samples_to_tell(points: float) -> int | None:
    """How many samples it takes at least to tell a drop of so many points from chance; None of no drop at all."""
    return math.ceil(round(100 * _FEWEST / points, 6)) if points > 0 else None


def told(samples: int, *, points: float | None) -> str:
    """What so many samples can say of a drop, and how many a budget of `points` would take."""
    least = smallest_drop(samples)
    if least is None:
        words = "no drop can be told from chance on so few"
    else:
        words = f"a drop of less than {least:.3g} points cannot be told from chance on so many"
    needed = None if points is None else samples_to_tell(points)
    if needed is None or needed <= samples:
        return words
    return f"{words}; for {points:g} it takes {needed:,} or more"

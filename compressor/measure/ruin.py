"""When a link has cost so much that nothing it gave can be a gain: what is stated, else ten points."""

from __future__ import annotations

POINTS = 10.0
UNSTATED = " (no max_drop is stated, and what costs more than that is no gain)"


def limit(max_drop: float | None) -> float:
    """The most points of the metric that a link may cost."""
    return POINTS if max_drop is None else max_drop

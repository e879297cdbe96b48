"""From what the user wants to a cut: the widest network that is as small, or as fast, as asked for.

What a network costs is measured by whoever calls (`cost`, `times`), so this holds no measuring and no data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from compressor.surgery import latency, ranking
from compressor.surgery.cut import Group, Prunable
from compressor.surgery.latency import LatencyTable

Ranking = Literal["global", "local", "isomorphic"]
Times = Callable[[Mapping[str, nn.Module]], Mapping[str, float]]
_HALVINGS = 9
_TABLE_WIDTHS = (0.25, 0.5, 0.75)  # measured; between them the time is taken as linear
_TRIES = 4
_CLOSE = 0.97  # of the wanted time: close enough from below
CLOCK = 1.01
"""A measured time within this of what was wanted has reached it: the clock tells no more apart."""


@dataclass(frozen=True)
class Cut:
    """A cut that was made.

    Attributes:
        module: The pruned copy.
        keep: The units that stay, for each group that was cut.
        reached: Its cost, in the unit of what was wanted.
        met: Whether that is at or below what was wanted.
        tried: How many candidates were made on the way.
    """

    module: nn.Module
    keep: Mapping[str, NDArray[np.int64]]
    reached: float
    met: bool
    tried: int


def by_cost(
    prunable: Prunable,
    scores: Mapping[str, NDArray[np.float64]],
    *,
    want: float,
    cost: Callable[[nn.Module], float],
    how: Ranking,
    round_to: int,
) -> Cut:
    """The network that keeps the most channels at a cost of at most `want`, by halving the share of channels that stay.

    Args:
        prunable: What is cut.
        scores: How much each unit matters.
        want: The largest cost.
        cost: Of a network: multiply-adds, parameters, bytes, ...; it falls as channels go.
        how: Who competes with whom.
        round_to: Widths in channels are multiples of it.

    Returns:
        The cut; when even the narrowest network costs more than `want`, that one, with `met` false.
    """

    def candidate(share: float, tried: int) -> Cut:
        keep = ranking.widths(prunable.groups, scores, share=share, how=how, round_to=round_to)
        module = prunable.cut(keep)
        reached = cost(module)
        return Cut(module, keep, reached, reached <= want, tried)

    best = candidate(0.0, 1)
    if not best.met:
        return best
    low, high = 0.0, 1.0
    for tried in range(2, _HALVINGS + 2):
        middle = (low + high) / 2
        found = candidate(middle, tried)
        if found.met:
            best, low = found, middle
        else:
            high = middle
    return Cut(best.module, best.keep, best.reached, best.met, _HALVINGS + 1)


def by_latency(
    prunable: Prunable,
    scores: Mapping[str, NDArray[np.float64]],
    table: LatencyTable,
    *,
    want_ms: float,
    now_ms: float,
    times: Times,
    round_to: int,
) -> Cut:
    """The network that gives up the least importance for a measured time of at most `want_ms`.

    The table predicts, the candidate is measured, and what is asked of the table is corrected by how far it was off, up to
    four times.

    Args:
        prunable: What is cut.
        scores: How much each unit matters.
        table: What narrower groups save.
        want_ms: The longest time.
        now_ms: The time of what is cut.
        times: Measures networks side by side, in milliseconds.
        round_to: Widths in channels are multiples of it.
    """
    save_ms = wanted_saving = now_ms - want_ms
    best: Cut | None = None
    seen: set[tuple[tuple[str, int], ...]] = set()
    for tried in range(1, _TRIES + 1):
        keep = latency.plan(prunable.groups, scores, table, save_ms=save_ms, round_to=round_to)
        widths = tuple(sorted((name, len(kept)) for name, kept in keep.items()))
        if widths in seen:
            break
        seen.add(widths)
        module = prunable.cut(keep)
        reached = times({"candidate": module})["candidate"]
        found = Cut(module, keep, reached, reached <= CLOCK * want_ms, tried)
        best = found if best is None or _is_better(found, best) else best
        if _CLOSE * want_ms <= reached <= CLOCK * want_ms:
            break
        really_saved = now_ms - reached
        save_ms *= min(2.0, max(0.5, wanted_saving / really_saved)) if really_saved > 0 else 2.0
    assert best is not None
    return best


def measure_table(prunable: Prunable, *, times: Times, now_ms: float, round_to: int) -> LatencyTable:
    """Time the network with the groups of one shape cut, for each shape and a few widths.

    All groups of a shape are cut at once, since one alone may save less than the clock can tell; the saving is shared out.
    """
    alike: dict[object, list[Group]] = {}
    for group in prunable.groups:
        alike.setdefault(group.shape, []).append(group)
    candidates: dict[str, tuple[list[Group], int, nn.Module]] = {}
    for number, groups in enumerate(alike.values()):
        for width in _widths_to_measure(groups[0], round_to=round_to):
            keep = {group.name: np.arange(width, dtype=np.int64) for group in groups}
            candidates[f"{number}-{width}"] = (groups, width, prunable.cut(keep))
    measured = times({name: module for name, (_, _, module) in candidates.items()})
    saved = {group.name: {group.width: 0.0} for group in prunable.groups}
    for name, (groups, width, _) in candidates.items():
        for group in groups:
            saved[group.name][width] = (now_ms - measured[name]) / len(groups)
    return LatencyTable(saved)


def _widths_to_measure(group: Group, *, round_to: int) -> list[int]:
    allowed = latency.steps_of(group, round_to=round_to, least=0.1)[:-1]
    wanted = [share * group.width for share in _TABLE_WIDTHS]
    return sorted({min(allowed, key=lambda width: abs(width - target)) for target in wanted}) if allowed else []


def _is_better(found: Cut, best: Cut) -> bool:
    """Within the wanted time the slower network has kept more; outside it the faster one is nearer."""
    if found.met != best.met:
        return found.met
    return found.reached > best.reached if found.met else found.reached < best.reached

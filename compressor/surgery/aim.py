"""From what the user wants to a cut: the widest network that is as small, or as fast, as asked for.

What a network costs is measured by whoever calls (`cost`, `times`), so this holds no measuring and no data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from compressor.surgery import latency, ranking
from compressor.surgery.cut import Group, Prunable
from compressor.surgery.latency import LatencyTable
from compressor.surgery.units import step_of

Ranking = Literal["global", "local", "isomorphic"]
Times = Callable[[Mapping[str, nn.Module]], Mapping[str, float]]
_HALVINGS = 9
_FAR_BELOW = 0.9  # of what was wanted: more is gone than was asked for
_MOST_WIDENED = 16
_TABLE_WIDTHS = (0.25, 0.5, 0.75)  # measured; between them the time is taken as linear
_TIMED_AT_ONCE = 6  # candidates in memory and on disk at a time
_TRIES = 4
_MOST_TRIES = 8  # while none is fast enough
_CLOSE = 0.97  # of the wanted time: close enough from below
_NARROWEST = "these are the narrowest widths that may be cut to"
_NO_FASTER = "no narrower width that may be cut to saves time"
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
        short: Why it falls short of what was wanted, where it does.
        narrowest: Whether it does because nothing more can be cut.
        above: The least cost above what was wanted that widths allow, where much more is gone than was asked for.
        finer: The largest step of widths that allows a cost nearer to it; None where none does.
    """

    module: nn.Module
    keep: Mapping[str, NDArray[np.int64]]
    reached: float
    met: bool
    tried: int
    short: str = ""
    narrowest: bool = False
    above: float | None = None
    finer: int | None = None


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

    Where wide steps take more than twice of what was to go, groups are widened one by one again as far as `want` allows.

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
        return replace(best, short=_NARROWEST + _what_stays(prunable, best.module), narrowest=True)
    low, high, above = 0.0, 1.0, None
    for tried in range(2, _HALVINGS + 2):
        middle = (low + high) / 2
        found = candidate(middle, tried)
        if found.met:
            best, low = found, middle
        else:
            above, high = found, middle
    best = replace(best, tried=_HALVINGS + 1)
    if not best.keep or best.reached >= _FAR_BELOW * want:
        return best
    if above is None:
        whole = prunable.cut({})
        above = Cut(whole, {}, cost(whole), False, best.tried)
    now = above.reached if not above.keep else cost(prunable.cut({}))
    if now - best.reached > 2 * (now - want):
        best = _widened(prunable, scores, best, above, cost=cost, want=want)
    if best.reached >= _FAR_BELOW * want:
        return best
    finer = _finer(prunable, scores, best, above, cost=cost, want=want, round_to=round_to)
    return replace(best, above=above.reached, finer=finer)


def coarse(cut: Cut, *, what: str, want: float, start: float, round_to: int) -> str:
    """What to tell of a cut that took far more than was asked for, since widths come in steps; nothing of others."""
    if cut.above is None:
        return ""
    finer = f"; --round-to {cut.finer} comes nearer" if cut.finer else ""
    return (
        f"{want / start:.0%} of the {what} was asked for and {cut.reached / start:.0%} is left: with widths in multiples of "
        f"{round_to} the next above is {cut.above / start:.0%}{finer}"
    )


def _widened(
    prunable: Prunable,
    scores: Mapping[str, NDArray[np.float64]],
    best: Cut,
    above: Cut,
    *,
    cost: Callable[[nn.Module], float],
    want: float,
) -> Cut:
    """Give groups back the width they had in `above`, those whose channels matter most first, while `want` is kept."""

    def regained(name: str) -> float:
        back = np.setdiff1d(above.keep.get(name, np.arange(len(scores[name]))), best.keep[name])
        return float(scores[name][back].sum() / max(float(scores[name].mean()), 1e-12))

    differ = [name for name in best.keep if len(above.keep.get(name, scores[name])) > len(best.keep[name])]
    for name in sorted(differ, key=regained, reverse=True)[:_MOST_WIDENED]:
        keep = {each: kept for each, kept in best.keep.items() if each != name or each in above.keep}
        keep |= {name: above.keep[name]} if name in above.keep else {}
        module = prunable.cut(keep)
        reached = cost(module)
        tried = best.tried + 1
        best = Cut(module, keep, reached, True, tried) if reached <= want else replace(best, tried=tried)
    return best


def _finer(
    prunable: Prunable,
    scores: Mapping[str, NDArray[np.float64]],
    best: Cut,
    above: Cut,
    *,
    cost: Callable[[nn.Module], float],
    want: float,
    round_to: int,
) -> int | None:
    """The largest divisor of `round_to` whose multiples allow more than `best` keeps, as far as a few trials tell."""
    trials = 0
    for finer in (number for number in range(round_to - 1, 0, -1) if round_to % number == 0):
        for group in prunable.groups:
            narrow = len(best.keep.get(group.name, range(group.width)))
            width = narrow + step_of(group, round_to=finer)
            if width < len(above.keep.get(group.name, range(group.width))) and trials < _MOST_WIDENED:
                trials += 1
                wider = prunable.cut({**best.keep, group.name: ranking.best(scores[group.name], width)})
                if cost(wider) <= want:
                    return finer
    return None


def _what_stays(prunable: Prunable, narrowest: nn.Module) -> str:
    """Where the weights of the narrowest network are, if most of them are in layers that are left whole."""
    every = sum(parameter.numel() for parameter in narrowest.parameters())
    inside = {
        path: sum(parameter.numel() for parameter in module.parameters(recurse=False))
        for path, module in narrowest.named_modules()
        if path in prunable.spared
    }
    if not inside or 2 * sum(inside.values()) < every:
        return ""
    largest = max(inside, key=lambda path: inside[path])
    return (
        f", and {sum(inside.values()) / every:.0%} of their weights are in layers that stay whole, "
        f"first of all {largest} ({prunable.spared[largest]})"
    )


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

    The table predicts, the candidate is measured, and what is asked of the table is corrected by how far it was off: up to
    four times, and while none is fast enough up to eight. A correction too small for another width is made larger.

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
    seen: list[dict[str, int]] = []

    def plan(save_ms: float) -> dict[str, NDArray[np.int64]]:
        return latency.plan(prunable.groups, scores, table, save_ms=save_ms, round_to=round_to)

    narrowest = _widths(plan(np.inf))
    while len(seen) < (_TRIES if best and best.met else _MOST_TRIES):
        keep = plan(save_ms)
        if not (best and best.met):
            while _widths(keep) in seen and _widths(keep) != narrowest:
                save_ms = max(save_ms, 0.0) + (CLOCK - 1) * now_ms
                keep = plan(save_ms)
        if _widths(keep) in seen:
            break
        seen.append(_widths(keep))
        module = prunable.cut(keep)
        reached = times({"candidate": module})["candidate"]
        found = Cut(module, keep, reached, reached <= CLOCK * want_ms, len(seen))
        best = found if best is None or _is_better(found, best) else best
        if _CLOSE * want_ms <= reached <= CLOCK * want_ms:
            break
        really_saved = now_ms - reached
        save_ms *= min(2.0, max(0.5, wanted_saving / really_saved)) if really_saved > 0 else 2.0
    assert best is not None
    if best.met:
        return best
    if narrowest in seen:
        return replace(best, short=_NO_FASTER, narrowest=True)
    return replace(best, short=f"{len(seen)} candidates were timed and none was as fast as asked for")


def measure_table(prunable: Prunable, *, times: Times, now_ms: float, round_to: int) -> LatencyTable:
    """Time the network with the groups of one shape cut, for each shape and a few widths.

    All groups of a shape are cut at once, since one alone may save less than the clock can tell; the saving is shared out.
    A few candidates are held at a time.
    """
    alike: dict[object, list[Group]] = {}
    for group in prunable.groups:
        alike.setdefault(group.shape, []).append(group)
    wanted = [
        (groups, width) for groups in alike.values() for width in _widths_to_measure(groups[0], round_to=round_to)
    ]
    saved = {group.name: {group.width: 0.0} for group in prunable.groups}
    for first in range(0, len(wanted), _TIMED_AT_ONCE):
        at_once = dict(enumerate(wanted[first : first + _TIMED_AT_ONCE]))
        measured = times({str(number): _all_at(prunable, *each) for number, each in at_once.items()})
        for number, (groups, width) in at_once.items():
            for group in groups:
                saved[group.name][width] = (now_ms - measured[str(number)]) / len(groups)
    return LatencyTable(saved)


def _all_at(prunable: Prunable, groups: list[Group], width: int) -> nn.Module:
    return prunable.cut({group.name: np.arange(width, dtype=np.int64) for group in groups})


def _widths_to_measure(group: Group, *, round_to: int) -> list[int]:
    allowed = latency.steps_of(group, round_to=round_to, least=0.1)[:-1]
    if not allowed:
        return []
    wanted = [share * group.width for share in (*_TABLE_WIDTHS, 0.0)]  # below the narrowest nothing seems to be saved
    return sorted({min(allowed, key=lambda width: abs(width - target)) for target in wanted})


def _widths(keep: Mapping[str, NDArray[np.int64]]) -> dict[str, int]:
    return {name: len(kept) for name, kept in keep.items()}


def _is_better(found: Cut, best: Cut) -> bool:
    """Within the wanted time the slower network has kept more; outside it the faster one is nearer."""
    if found.met != best.met:
        return found.met
    return found.reached > best.reached if found.met else found.reached < best.reached

"""Who stays: from scores of channels to the widths of groups. NumPy only."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compressor.surgery.units import Units, step_of


def widths(
    groups: Sequence[Units],
    scores: Mapping[str, NDArray[np.float64]],
    *,
    share: float,
    how: Literal["global", "local", "isomorphic"],
    round_to: int,
    least: float = 0.1,
) -> dict[str, NDArray[np.int64]]:
    """Which units of each group stay when about `share` of all of them do.

    `global`: all units compete, each scored against the mean of its group, as groups differ in scale (Fang et al. 2023,
    arXiv 2301.12900, section 3.3). `isomorphic`: they compete among groups of equal layers only (Fang et al. 2024,
    arXiv 2407.04616). `local`: every group keeps the same share.

    Args:
        groups: What can be cut.
        scores: `[width]` for each group by name; larger stays.
        share: 0 to 1.
        how: Who competes with whom.
        round_to: Widths in channels are multiples of it, upwards, where a group is that wide.
        least: Smallest share of a group's units that stays.

    Returns:
        Positions to keep, sorted, for each group that is cut.
    """
    relative = {group.name: scores[group.name] / max(float(scores[group.name].mean()), 1e-12) for group in groups}
    keep: dict[str, NDArray[np.int64]] = {}
    for competing in _contests(groups, how):
        counts = _winners([relative[group.name] for group in competing], share=share)
        for group, wanted in zip(competing, counts, strict=True):
            width = rounded(wanted, group, round_to=round_to, least=least)
            if width < group.width:
                keep[group.name] = best(scores[group.name], width)
    return keep


def _winners(scores: Sequence[NDArray[np.float64]], *, share: float) -> list[int]:
    """How many of each group are among the best `share` of all; equal scores stay in the same share of each group."""
    everyone = np.concatenate(scores)
    owner = np.repeat(np.arange(len(scores)), [len(each) for each in scores])
    place = np.concatenate([np.argsort(np.argsort(-each, kind="stable")) / len(each) for each in scores])
    order = np.lexsort((place, -everyone))[: round(share * len(everyone))]
    return [int(count) for count in np.bincount(owner[order], minlength=len(scores))]


def best(scores: NDArray[np.float64], width: int) -> NDArray[np.int64]:
    """Positions of the `width` largest scores, sorted; of equal ones the first."""
    return np.sort(np.argsort(-scores, kind="stable")[:width]).astype(np.int64)


def rounded(wanted: int, group: Units, *, round_to: int, least: float) -> int:
    """The width in units nearest above `wanted` that is a multiple of `round_to` channels; never above the group's own."""
    step = step_of(group, round_to=round_to)
    wanted = max(wanted, int(np.ceil(least * group.width)), 1)
    return min(group.width, -(-wanted // step) * step)


def _contests(groups: Sequence[Units], how: str) -> list[list[Units]]:
    if how == "global":
        return [list(groups)] if groups else []
    if how == "local":
        return [[group] for group in groups]
    alike: dict[Hashable, list[Units]] = {}
    for group in groups:
        alike.setdefault(group.shape, []).append(group)
    return list(alike.values())

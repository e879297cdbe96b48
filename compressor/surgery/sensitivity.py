"""How much each group of channels can lose alone before the network notices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from compressor.surgery import ranking
from compressor.surgery.cut import Prunable


@dataclass(frozen=True)
class Sensitivity:
    """What a network scores with one group narrowed and all others whole, without any recovery.

    Attributes:
        group: Name of the group.
        layers: Every layer whose channels go with it.
        width: Its units.
        scores: `(units kept, score)`, widest first.
    """

    group: str
    layers: tuple[str, ...]
    width: int
    scores: tuple[tuple[int, float], ...]


def scan(
    prunable: Prunable,
    importance: Mapping[str, NDArray[np.float64]],
    *,
    judge: Callable[[nn.Module], float],
    shares: Sequence[float] = (0.75, 0.5, 0.25),
    go_on: Callable[[], bool] = lambda: True,
) -> list[Sensitivity]:
    """Narrow each group alone to `shares` of its units, keeping the most important ones, and judge the network.

    Args:
        prunable: The network.
        importance: How much each unit matters.
        judge: A score of a network, larger is better.
        shares: Of the units, widest first.
        go_on: Asked before each group; when it says no, the groups that are left are not looked at.
    """
    found = []
    for group in prunable.groups:
        if not go_on():
            break
        widths = sorted({max(1, round(share * group.width)) for share in shares} - {group.width}, reverse=True)
        scores = [
            (width, judge(prunable.cut({group.name: ranking.best(importance[group.name], width)}))) for width in widths
        ]
        found.append(Sensitivity(group.name, group.layers, group.width, tuple(scores)))
    return found

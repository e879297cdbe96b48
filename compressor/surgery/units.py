"""What plans and rankings need to know of a group of channels, so that neither needs the network."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Protocol


class Units(Protocol):
    """Units of channels that stay or go one by one (`cut.Group`)."""

    @property
    def name(self) -> str:
        """Dotted path of the first layer."""
        ...

    @property
    def width(self) -> int:
        """Units now."""
        ...

    @property
    def unit(self) -> int:
        """Channels of a unit."""
        ...

    @property
    def shape(self) -> Hashable:
        """Equal for groups of equal layers."""
        ...


def step_of(group: Units, *, round_to: int) -> int:
    """The least number of units whose channels are a multiple of `round_to`, or near it where the group is not that wide."""
    whole = math.lcm(round_to, group.unit) // group.unit
    return whole if whole < group.width else max(1, round_to // group.unit)

"""What plans and rankings need to know of a group of channels, so that neither needs the network."""

from __future__ import annotations

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

"""Under which conditions a model is timed: what a profile says, without the recipe that it is written in."""

from __future__ import annotations

from typing import Protocol


class Conditions(Protocol):
    """Run conditions; `recipe.ProfileSettings` are some, and so is a plain object with these names."""

    @property
    def threads(self) -> int:
        """Threads within an operator; 0 for all cores this process may use."""
        ...

    @property
    def batch(self) -> int:
        """Samples in a batch."""
        ...

    @property
    def pin(self) -> bool:
        """Whether the process stays on as many cores as it has threads."""
        ...

    @property
    def spinning(self) -> bool:
        """Whether idle threads of the runtime wait busily."""
        ...

    @property
    def arena(self) -> bool:
        """Whether the runtime keeps memory that it has used for the next inference."""
        ...

    @property
    def memory_mb(self) -> int | None:
        """Most memory that the process may allocate, in 10^6 bytes."""
        ...

    @property
    def cpu_share(self) -> float | None:
        """Most cores' worth of time that the process may take: 0.5 is half of one core."""
        ...

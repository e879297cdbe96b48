"""Born-again networks: Furlanello et al. 2018 (arXiv 1805.04770), section 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from compressor.errors import InputError
from compressor.teachers._frozen import Frozen


class BornAgain(Frozen):
    """No other network: generations of the student, each taught by the one before (born-again, Furlanello et al. 2018).

    The first generation learns from the labels alone: it is the control. Every later one begins anew, with the same
    architecture and another seed, and learns from the finished one before it; the last is the student. They learn from the
    one before at a temperature of 1 and from the labels, as much from either.

    Args:
        previous: the generation before
        generations: how many learn from one before them

    Raises:
        InputError: There is no generation.
    """

    needs = ("labels",)
    gives = ("features",)
    usual: ClassVar[Mapping[str, Any]] = {"name": "kd", "temperature": 1.0, "alpha": 0.5}

    def __init__(self, previous: nn.Module, *, generations: int = 1) -> None:
        if generations < 1:
            raise InputError(f"generations = {generations} must be at least 1", where="born_again.generations")
        super().__init__(previous)
        self.generations = generations

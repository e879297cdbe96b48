"""The teacher of a network that learns from the labels alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from compressor.teachers._contract import Teacher
from compressor.tensors import Batch, Outputs


class NoTeacher(Teacher):
    """No teacher: the network learns from the labels alone (how teachers and controls are trained)."""

    needs = ("labels",)
    gives = ()
    usual: ClassVar[Mapping[str, Any]] = {"name": "hard"}

    def answer(self, batch: Batch) -> Outputs:
        """An empty answer, for losses that ask no teacher."""
        return Outputs({})

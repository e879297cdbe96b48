"""Rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from compressor.inputs._contract import InputKind

if TYPE_CHECKING:
    from compressor.tensors import TensorSpec


class Vectors(InputKind):
    """Rows of a table `[F]`: numbers, each column in a unit of its own."""

    layout: ClassVar[str] = "F"
    of_columns: ClassVar[bool] = True

    def claims(self, spec: TensorSpec) -> bool:
        """One axis of numbers, of a size that is known."""
        return len(spec.shape) == 1 and not spec.varying and spec.dtype in ("float32", "uint8")

    def arguments(self, shape: Sequence[int]) -> dict[str, int]:
        """How many columns there are."""
        return dict.fromkeys(("in_features", "input_size"), shape[0])

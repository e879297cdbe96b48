"""Numbers over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from compressor.inputs._contract import InputKind

if TYPE_CHECKING:
    from compressor.tensors import TensorSpec


class Series(InputKind):
    """Numbers over time `[C, L]`, each channel in a unit of its own: sensors, features of sound."""

    layout: ClassVar[str] = "CL"

    def claims(self, spec: TensorSpec) -> bool:
        """Two axes of numbers."""
        return len(spec.shape) == 2 and spec.dtype in ("uint8", "float32")

    def arguments(self, shape: Sequence[int]) -> dict[str, int]:
        """Channels and length."""
        channels, length = shape
        found = dict.fromkeys(("in_channels", "in_chans", "input_channels"), channels)
        return found | dict.fromkeys(("length", "seq_len"), length)

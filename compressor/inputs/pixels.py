"""Images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from compressor.inputs._contract import InputKind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from compressor.tensors import TensorSpec


class Pixels(InputKind):
    """Images `[C, H, W]`: bytes 0–255 in memory, 0–1 for a network."""

    layout: ClassVar[str] = "CHW"
    same_means_same: ClassVar[bool] = True

    def claims(self, spec: TensorSpec) -> bool:
        """Three axes of bytes, or of numbers in 0–1."""
        return len(spec.shape) == 3 and spec.dtype in ("uint8", "float32")

    def normalizations(self, spec: TensorSpec) -> tuple[str, ...]:
        """Those that are usual for pixels; ImageNet's is for three channels."""
        return ("imagenet", "half", "data", "none") if spec.shape[0] == 3 else ("half", "data", "none")

    def arguments(self, shape: Sequence[int]) -> dict[str, int]:
        """Channels, and the height as the size."""
        channels, height, _width = shape
        found = dict.fromkeys(("in_channels", "in_chans", "input_channels"), channels)
        return found | dict.fromkeys(("image_size", "img_size", "input_size"), height)

    def contract(self, spec: TensorSpec, *, scaled: str) -> dict[str, Any]:
        """Pixels in 0–1."""
        return super().contract(spec, scaled=scaled) | {"range": f"0-1{scaled}"}

    def pictures(self, array: NDArray[Any]) -> NDArray[np.uint8] | None:
        """As bytes, where they have one channel or three."""
        import numpy as np

        if array.shape[1] not in (1, 3):
            return None
        if array.dtype != np.uint8:
            array = np.round(np.clip(array, 0.0, 1.0) * 255)
        pictures: NDArray[np.uint8] = array.astype(np.uint8)
        return pictures

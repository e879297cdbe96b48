"""RandAugment: a few random operations of one strength (Cubuk et al. 2020, arXiv 1909.13719).

The fourteen operations and their strengths are torchvision's. An operation is done on all samples that drew it at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as V

from compressor.errors import DataError
from compressor.tensors import TensorSpec
from compressor.views import _color
from compressor.views._pixels import ImageView, in_bytes
from compressor.views._stream import Draw

_LARGEST = 30
_LEVELS = 256


class RandAugment(ImageView):
    """A few random operations of one strength on each image (Cubuk et al. 2020)."""

    order: ClassVar[int] = 40

    def __init__(self, *, operations: int = 0, magnitude: int = 9) -> None:
        """
        Args:
            operations: How many, one after the other.
            magnitude: Their strength, out of 30; those that have a direction draw it.
        """
        self.operations = operations
        self.magnitude = magnitude

    def check(self, spec: TensorSpec) -> None:
        """Refuse images of other than 1 or 3 channels; raises `DataError`."""
        if spec.shape[0] not in (1, 3):
            raise DataError(
                f"its operations are for images of 1 or 3 channels, samples have the shape {spec.at({})}",
                where="data.views.rand_augment",
                hint="leave out data.views.rand_augment",
            )

    def __call__(self, inputs: Tensor, draw: Draw) -> Tensor:
        """Each image after its own operations, in 256 levels."""
        return in_bytes(inputs, lambda images: self._augmented(images, draw))

    def _augmented(self, images_BCHW: Tensor, draw: Draw) -> Tensor:
        names = list(_OPERATIONS)
        images_BCHW = images_BCHW.clone()
        for turn in range(self.operations):
            chosen_B = draw.below(f"rand_augment.operation.{turn}", len(names))
            turned_B = draw.chance(f"rand_augment.direction.{turn}", 0.5)
            for number, name in enumerate(names):
                for sign in (1, -1):
                    rows = torch.nonzero((chosen_B == number) & (turned_B == (sign < 0)))[:, 0]
                    if len(rows):
                        changed = _OPERATIONS[name](images_BCHW[rows], sign * self.magnitude / _LARGEST)
                        images_BCHW = images_BCHW.index_copy(0, rows, changed)
        return images_BCHW


def _identity(images_BCHW: Tensor, _strength: float) -> Tensor:
    return images_BCHW


def _shear_x(images_BCHW: Tensor, strength: float) -> Tensor:
    return _affine(images_BCHW, shear=(_degrees(0.3 * strength), 0.0))


def _shear_y(images_BCHW: Tensor, strength: float) -> Tensor:
    return _affine(images_BCHW, shear=(0.0, _degrees(0.3 * strength)))


def _translate_x(images_BCHW: Tensor, strength: float) -> Tensor:
    return _affine(images_BCHW, translate=(int(150 / 331 * images_BCHW.shape[3] * strength), 0))


def _translate_y(images_BCHW: Tensor, strength: float) -> Tensor:
    return _affine(images_BCHW, translate=(0, int(150 / 331 * images_BCHW.shape[2] * strength)))


def _rotate(images_BCHW: Tensor, strength: float) -> Tensor:
    rotated: Tensor = V.rotate(images_BCHW, 30.0 * strength)
    return rotated


def _posterize(images_BCHW: Tensor, strength: float) -> Tensor:
    posterized: Tensor = V.posterize(images_BCHW, 8 - round(4 * abs(strength)))
    return posterized


def _solarize(images_BCHW: Tensor, strength: float) -> Tensor:
    solarized: Tensor = V.solarize(images_BCHW, 255.0 * (1 - abs(strength)))
    return solarized


def _autocontrast(images_BCHW: Tensor, _strength: float) -> Tensor:
    stretched: Tensor = V.autocontrast(images_BCHW)
    return stretched


def _equalize(images_BCHW: Tensor, _strength: float) -> Tensor:
    equalized: Tensor = V.equalize(images_BCHW)
    return equalized


def _blended(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, float], Tensor]:
    def operation(images_BCHW: Tensor, strength: float) -> Tensor:
        factor_B = torch.full((len(images_BCHW),), 1 + 0.9 * strength, device=images_BCHW.device)
        changed = change(images_BCHW.float() / (_LEVELS - 1), factor_B)
        return (changed * (_LEVELS - 1)).round().to(torch.uint8)

    return operation


def _affine(
    images_BCHW: Tensor, *, translate: tuple[int, int] = (0, 0), shear: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    moved: Tensor = V.affine(
        images_BCHW,
        angle=0.0,
        translate=list(translate),
        scale=1.0,
        shear=list(shear),
        center=[0, 0] if any(shear) else None,
    )
    return moved


def _degrees(slope: float) -> float:
    return float(torch.rad2deg(torch.atan(torch.tensor(slope, dtype=torch.float64))))


_OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "identity": _identity,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "rotate": _rotate,
    "brightness": _blended(_color.brightness),
    "color": _blended(_color.saturation),
    "contrast": _blended(_color.contrast),
    "sharpness": _blended(_color.sharpness),
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}

"""RandAugment: a few random operations of one strength (Cubuk et al. 2020, arXiv 1909.13719).

The fourteen operations and their strengths are torchvision's. An operation is done on all samples that drew it at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as V

from compressor.data.views import colour
from compressor.data.views.stream import Draw

_LARGEST = 30
_LEVELS = 256


def rand_augment(images_BCHW: Tensor, draw: Draw, *, operations: int, magnitude: int) -> Tensor:
    """`operations` random operations on each image, one after the other.

    Args:
        images_BCHW: uint8.
        draw: Random numbers of the view.
        operations: How many.
        magnitude: Their strength, out of 30; those that have a direction draw it.
    """
    names = list(_OPERATIONS)
    images_BCHW = images_BCHW.clone()
    for turn in range(operations):
        chosen_B = draw.below(f"rand_augment.operation.{turn}", len(names))
        turned_B = draw.chance(f"rand_augment.direction.{turn}", 0.5)
        for number, name in enumerate(names):
            for sign in (1, -1):
                rows = torch.nonzero((chosen_B == number) & (turned_B == (sign < 0)))[:, 0]
                if len(rows):
                    changed = _OPERATIONS[name](images_BCHW[rows], sign * magnitude / _LARGEST)
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
    "brightness": _blended(colour.brightness),
    "colour": _blended(colour.saturation),
    "contrast": _blended(colour.contrast),
    "sharpness": _blended(colour.sharpness),
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}

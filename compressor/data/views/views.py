"""Seeded augmentation of a batch: view `v` of sample `i` is a pure function of `(seed, v, i)`.

The order is: resized crop, or crop out of a padded image; flip; RandAugment; colour jitter; erasing; and then mixing with
the same view of another sample. uint8 stays uint8 until samples are mixed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.artifact import Decision
from compressor.data.loader import LoadedBatch, to_float
from compressor.data.views import colour, erasing, geometry, mixing
from compressor.data.views.stream import Draw
from compressor.errors import DataError
from compressor.recipe import ViewSettings
from compressor.tensors import IGNORED, MASK, Mixed, Schema

_MOVES = "a label is numbers, which may be places that this would move; state it if they are not"

SCHEME = 1
"""Raised with any change of what a view shows, since a teacher's kept answers are answers to it."""


@dataclass(frozen=True)
class Views:
    """What a view does to a sample; the defaults do nothing.

    Attributes:
        pad: Pixels of zeros on each side before a random crop; 0 for none.
        flip: Whether half of the samples are mirrored left to right.
        resized_crop: Least share of the area that a resized crop keeps; 0 for none.
        colour_jitter: Strength of random brightness, contrast and saturation.
        rand_augment: Random operations on each image.
        magnitude: Their strength, out of 30.
        erasing: Chance that a rectangle is erased.
        mixup: α of mixup; 0 for none.
        cutmix: α of CutMix; 0 for none.
    """

    pad: int = 0
    flip: bool = False
    resized_crop: float = 0.0
    colour_jitter: float = 0.0
    rand_augment: int = 0
    magnitude: int = 9
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def mixes(self) -> bool:
        """Whether a view of one sample shows another one as well."""
        return self.mixup > 0 or self.cutmix > 0

    def partners(self, positions_B: NDArray[np.int64], *, view: int, seed: int, num_samples: int) -> NDArray[np.int64]:
        """Positions of the samples that those at `positions_B` are mixed with."""
        drawn = mixing.partners(Draw(torch.from_numpy(positions_B), view, seed), num_samples=num_samples)
        partners_B: NDArray[np.int64] = drawn.numpy()
        return partners_B

    def __call__(self, images_BCHW: Tensor, sample_ids_B: Tensor, *, view: int, seed: int) -> Tensor:
        """View `view` of each sample by itself, in the type and on the device of the images.

        Args:
            images_BCHW: uint8, or float32 in 0–1; vectors `[B, F]` when nothing but mixing is on.
            sample_ids_B: int64, position of each sample in its split.
            view: Number of the view; negative for the plain sample, as in `Batch.view`.
            seed: Of the views.
        """
        if view < 0:
            return images_BCHW
        draw = Draw(sample_ids_B.to(images_BCHW.device), view, seed)
        if self.resized_crop:
            images_BCHW = _in_float(images_BCHW, lambda x: geometry.resized_crop(x, draw, least=self.resized_crop))
        if self.pad or self.flip:
            images_BCHW = geometry.crop_and_flip(images_BCHW, draw, pad=self.pad, flip=self.flip)
        if self.rand_augment:
            # torchvision takes as long to import as torch, and nothing else here needs it
            from compressor.data.views.rand_augment import rand_augment

            images_BCHW = _in_bytes(
                images_BCHW,
                lambda x: rand_augment(x, draw, operations=self.rand_augment, magnitude=self.magnitude),
            )
        if self.colour_jitter:
            images_BCHW = _in_float(images_BCHW, lambda x: colour.jitter(x, draw, strength=self.colour_jitter))
        if self.erasing:
            images_BCHW = erasing.erased(images_BCHW, draw, chance=self.erasing)
        return images_BCHW

    def targets(self, loaded: LoadedBatch, *, view: int, seed: int) -> dict[str, Tensor]:
        """The targets of a batch as the view shows it: a mask moves with its picture, and counts for nothing where the
        picture was padded; any other target stays as it is."""
        targets = dict(loaded.targets)
        if view < 0 or MASK not in targets or not (self.resized_crop or self.pad or self.flip):
            return targets
        # Inverted, what is ignored is 0: the value that a crop pads with.
        inverted_B1HW = (IGNORED - targets[MASK])[:, None]
        draw = Draw(loaded.sample_ids.to(inverted_B1HW.device), view, seed)
        if self.resized_crop:
            cut = geometry.resized_crop(inverted_B1HW.float(), draw, least=self.resized_crop, mode="nearest")
            inverted_B1HW = cut.round().to(torch.uint8)
        if self.pad or self.flip:
            inverted_B1HW = geometry.crop_and_flip(inverted_B1HW, draw, pad=self.pad, flip=self.flip)
        targets[MASK] = (IGNORED - inverted_B1HW)[:, 0]
        return targets

    @property
    def change_nothing(self) -> bool:
        """Whether every view of a sample is the plain sample."""
        return self == Views(magnitude=self.magnitude)

    def show(self, loaded: LoadedBatch, *, view: int, seed: int) -> tuple[dict[str, Tensor], Mixed | None]:
        """A batch as the view shows it, and what each sample was mixed with.

        The partner shows the same view of its own, and is then mixed in.
        """
        if view < 0 or self.change_nothing:
            return dict(loaded.inputs), None
        ((name, stored),) = loaded.inputs.items()
        shown = self(stored, loaded.sample_ids, view=view, seed=seed)
        if not self.mixes:
            return {name: shown}, None
        partners = loaded.partners
        assert partners is not None, "views that mix need a loader with partners"
        others = self(partners.inputs[name], partners.sample_ids, view=view, seed=seed)
        shown, share_B = mixing.mixed(
            to_float(shown),
            to_float(others),
            Draw(loaded.sample_ids.to(shown.device), view, seed),
            mixup=self.mixup,
            cutmix=self.cutmix,
        )
        return {name: shown}, Mixed(partners.targets, partners.labelled, share_B, partners.sample_ids)


def resolve(
    settings: ViewSettings, *, inputs: Schema, of_numbers: bool = False, of_pixels: bool = False
) -> tuple[Views, tuple[Decision, ...]]:
    """The views that settings ask for, every `auto` decided for samples with these inputs.

    Args:
        settings: What is asked for.
        inputs: What a sample is made of.
        of_numbers: Whether labels are numbers, which may be places: nothing is moved then that was not asked for.
        of_pixels: Whether there is a class for each pixel, which moves with it.

    Raises:
        DataError: Vectors cannot be cropped, flipped, ..., or a crop is negative or as wide as the image.
    """
    image = inputs.only
    if image is None or len(image.shape) != 3 or image.varying:
        return _resolve_others(settings, inputs)
    sample_shape = image.at({})
    side = min(sample_shape[1:])
    decisions = []
    pad, flip = settings.crop, settings.flip
    if pad == "auto":
        pad, reason = _auto_pad(side) if not settings.resized_crop else (0, "there is a resized crop")
        pad, reason = (0, _MOVES) if of_numbers else (pad, reason)
        decisions.append(Decision("data.views.crop", f"{pad} px", reason))
    if flip == "auto":
        flip, reason = (False, _MOVES) if of_numbers else _auto_flip(sample_shape[0])
        decisions.append(Decision("data.views.flip", "on" if flip else "off", reason))
    if not 0 <= pad < side:
        raise DataError(
            f"a crop out of {pad} padded pixels does not suit images of {sample_shape[1]} x {sample_shape[2]}",
            where="data.views.crop",
            hint=f"write 0 to {side - 1}, or auto",
        )
    if settings.rand_augment and sample_shape[0] not in (1, 3):
        raise DataError(
            f"its operations are for images of 1 or 3 channels, samples have the shape {sample_shape}",
            where="data.views.rand_augment",
            hint="leave out data.views.rand_augment",
        )
    unfit = [name for name in ("rand_augment", "mixup", "cutmix") if of_pixels and getattr(settings, name)]
    if unfit:
        raise DataError(
            f"{unfit[0]} does not move the masks with their pictures",
            where=f"data.views.{unfit[0]}",
            hint="write crop, flip, resized_crop, colour_jitter or erasing, which do or need not",
        )
    same = settings.model_dump(exclude={"crop", "flip", "count", "seed"})
    return Views(pad=pad, flip=flip, **same), tuple(decisions)


def _resolve_others(settings: ViewSettings, inputs: Schema) -> tuple[Views, tuple[Decision, ...]]:
    for name in ("crop", "flip", "resized_crop", "colour_jitter", "rand_augment", "erasing", "cutmix"):
        value = getattr(settings, name)
        if value not in ("auto", 0):
            raise DataError(
                f"{value} asks for an image, samples are {inputs}",
                where=f"data.views.{name}",
                hint=f"leave out data.views.{name}",
            )
    if settings.mixup:
        if inputs.only is None or inputs.only.dtype != "float32":
            raise DataError(
                f"only numbers of one input can be mixed, samples are {inputs}",
                where="data.views.mixup",
                hint="leave out data.views.mixup",
            )
        return Views(mixup=settings.mixup), ()
    return Views(), (Decision("data.views", "none", f"samples are {inputs}"),)


def _auto_pad(side: int) -> tuple[int, str]:
    if side < 8:
        return 0, f"a side of {side} pixels is too short to lose any"
    return round(side / 8), f"an eighth of the side of {side} pixels, as 4 of 32 in He et al. 2016, section 4.2"


def _auto_flip(num_channels: int) -> tuple[bool, str]:
    if num_channels == 3:
        return True, "colour images: a mirrored object is the same object"
    return False, f"with {num_channels} channel(s), images are often signs, and a mirrored digit is another sign"


def _in_float(images: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Change images in float32; uint8 comes back as uint8, rounded."""
    if images.dtype != torch.uint8:
        return change(images)
    return _to_bytes(change(to_float(images)))


def _in_bytes(images: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Change images in uint8; float32 comes back as float32, in 256 levels."""
    if images.dtype == torch.uint8:
        return change(images)
    return to_float(change(_to_bytes(images)))


def _to_bytes(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)

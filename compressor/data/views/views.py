"""Seeded augmentation of a batch: view `v` of sample `i` is a pure function of `(seed, v, i)`.

Random numbers are counted, not drawn: seed and view start a stream, and the sample's number says which of its 64-bit words
decides crop and flip. So a view is the same in any batch, order, worker, rank or resumed run, on a CPU or a GPU, and a
teacher's answer to it can be kept. The stream is SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
Generators", OOPSLA 2014; constants of Stafford's variant 13), in 64-bit integers that wrap.

Not covered: augmentation that mixes samples (mixup, CutMix); it has no view of one sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from compressor.artifact import Decision
from compressor.batch import Mixed
from compressor.data.loader import LoadedBatch
from compressor.errors import DataError
from compressor.recipe import ViewSettings

_WORD = 2**64
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1, _MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_OFFSET_BITS = 21


@dataclass(frozen=True)
class Views:
    """Random crop out of a zero-padded image, and horizontal flip.

    Attributes:
        pad: Pixels of zeros on each side before the crop; 0 for none.
        flip: Whether half of the samples are mirrored left to right.
    """

    pad: int
    flip: bool

    def __call__(self, images_BCHW: Tensor, sample_ids_B: Tensor, *, view: int, seed: int) -> Tensor:
        """View `view` of each sample, in the type and on the device of the images.

        Args:
            images_BCHW: uint8 or float; vectors `[B, F]` when neither crop nor flip is on.
            sample_ids_B: int64, position of each sample in its split.
            view: Number of the view; negative for the plain sample, as in `Batch.view`.
            seed: Of the run's views.
        """
        if view < 0 or (self.pad == 0 and not self.flip):
            return images_BCHW
        bits_B = random_bits(sample_ids_B.to(images_BCHW.device), view=view, seed=seed)
        if self.pad:
            images_BCHW = _crop(images_BCHW, bits_B, pad=self.pad)
        if self.flip:
            flipped_B = (bits_B >> (2 * _OFFSET_BITS)) & 1
            images_BCHW = torch.where(flipped_B.bool()[:, None, None, None], images_BCHW.flip(3), images_BCHW)
        return images_BCHW

    @property
    def mixes(self) -> bool:
        """Whether a view of one sample shows another as well."""
        return False

    def show(self, loaded: LoadedBatch, *, view: int, seed: int) -> tuple[Tensor, Mixed | None]:
        """A batch as the view shows it."""
        return self(loaded.inputs, loaded.sample_ids, view=view, seed=seed), None


def resolve(settings: ViewSettings, *, sample_shape: tuple[int, ...]) -> tuple[Views, tuple[Decision, ...]]:
    """The views that settings ask for, every `auto` decided for samples of this shape.

    Raises:
        DataError: Vectors cannot be cropped or flipped, or a crop is negative or as wide as the image.
    """
    if len(sample_shape) != 3:
        return _resolve_vectors(settings, sample_shape)
    side = min(sample_shape[1:])
    decisions = []
    pad, flip = settings.crop, settings.flip
    if pad == "auto":
        pad, reason = _auto_pad(side)
        decisions.append(Decision("data.views.crop", f"{pad} px", reason))
    if flip == "auto":
        flip, reason = _auto_flip(sample_shape[0])
        decisions.append(Decision("data.views.flip", "on" if flip else "off", reason))
    if not 0 <= pad < side:
        raise DataError(
            f"a crop out of {pad} padded pixels does not suit images of {sample_shape[1]} x {sample_shape[2]}",
            where="data.views.crop",
            hint=f"write 0 to {side - 1}, or auto",
        )
    return Views(pad=pad, flip=flip), tuple(decisions)


def random_bits(sample_ids_B: Tensor, *, view: int, seed: int) -> Tensor:
    """64 random bits for each sample, as int64 `[B]`: word number `sample id` of the stream of `(seed, view)`."""
    start = _mix_int(_mix_int(seed + _GOLDEN) + (view + 1) * _GOLDEN)
    state = (sample_ids_B + 1) * _signed(_GOLDEN) + _signed(start)
    state = (state ^ _shift(state, 30)) * _signed(_MIX_1)
    state = (state ^ _shift(state, 27)) * _signed(_MIX_2)
    return state ^ _shift(state, 31)


def _resolve_vectors(settings: ViewSettings, sample_shape: tuple[int, ...]) -> tuple[Views, tuple[Decision, ...]]:
    for name, value in (("crop", settings.crop), ("flip", settings.flip)):
        if value not in ("auto", 0):
            raise DataError(
                f"{value} asks for an image, samples have the shape {sample_shape}",
                where=f"data.views.{name}",
                hint=f"leave out data.views.{name}",
            )
    return Views(pad=0, flip=False), (Decision("data.views", "none", f"samples are vectors {sample_shape}"),)


def _auto_pad(side: int) -> tuple[int, str]:
    if side < 8:
        return 0, f"a side of {side} pixels is too short to lose any"
    return round(side / 8), f"an eighth of the side of {side} pixels, as 4 of 32 in He et al. 2016, section 4.2"


def _auto_flip(num_channels: int) -> tuple[bool, str]:
    if num_channels == 3:
        return True, "colour images: a mirrored object is the same object"
    return False, f"with {num_channels} channel(s), images are often signs, and a mirrored digit is another sign"


def _crop(images_BCHW: Tensor, bits_B: Tensor, *, pad: int) -> Tensor:
    """Each sample's window out of the padded image: one gather over a view of all windows, nothing is copied twice."""
    height, width = images_BCHW.shape[2:]
    padded_BCHW = F.pad(images_BCHW, (pad, pad, pad, pad))
    windows = padded_BCHW.unfold(2, height, 1).unfold(3, width, 1)  # [B, C, 2p+1, 2p+1, H, W]
    rows_B = torch.arange(len(images_BCHW), device=images_BCHW.device)
    top_B = _offset(bits_B, choices=2 * pad + 1)
    left_B = _offset(bits_B >> _OFFSET_BITS, choices=2 * pad + 1)
    cropped: Tensor = windows[rows_B, :, top_B, left_B]
    return cropped


def _offset(bits_B: Tensor, *, choices: int) -> Tensor:
    """A number below `choices` from the low 21 bits; uneven by less than `choices` in two million."""
    offset_B: Tensor = ((bits_B & (2**_OFFSET_BITS - 1)) * choices) >> _OFFSET_BITS
    return offset_B


def _shift(state: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; the operator on int64 would drag the sign along."""
    shifted: Tensor = (state >> bits) & (2 ** (64 - bits) - 1)
    return shifted


def _mix_int(state: int) -> int:
    """The same mix on one Python integer."""
    state %= _WORD
    state = ((state ^ (state >> 30)) * _MIX_1) % _WORD
    state = ((state ^ (state >> 27)) * _MIX_2) % _WORD
    return state ^ (state >> 31)


def _signed(word: int) -> int:
    """An unsigned 64-bit word as the int64 with the same bits."""
    return word - _WORD if word >= _WORD // 2 else word

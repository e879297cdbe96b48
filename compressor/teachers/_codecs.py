"""How one output of a teacher is written: a codec turns values `[B, ...]` into bytes of a fixed number, and back.

    Exact     float32, as they are                           numbers in the unit of the data
    Half      float16                                        logits
    Largest   the largest logits, and the rest as one        logits of many classes
    Levels    256 levels between the ends of each channel    maps of logits `[K, ...]`
    Strided   one of these, of maps at a stride              maps of logits `[K, H, W]`

`candidates` lists the codecs that suit an output, from the most exact to the smallest. What comes back for a sample depends
on its bytes alone, not on the batch that it is read with, so that runs that read in another order see the same numbers.

Not covered: outputs with an axis that varies.

Shape letters: B batch, K classes or channels, H height, W width, S bytes of a sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from compressor.tensors import TensorSpec

_FEW_CLASSES = 256
_TOPS = (64, 32, 16)
_STRIDES = (2, 4, 8)  # of the networks for segmentation that there are; their logits are upsampled from one of these
_LARGEST = 65504.0  # of float16
_LEVELS = 255


class Codec(Protocol):
    """A way of writing an output; its text names it in manifests, and in the keys of caches."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the output of a sample."""
        ...

    @property
    def size_bytes(self) -> int:
        """Of what is written for a sample."""
        ...

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Bytes `[B, S]` for finite values `[B, *shape]`."""
        ...

    def decode(self, octets_BS: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Values `[B, *shape]`, in memory of their own."""
        ...


@dataclass(frozen=True)
class Exact:
    """All values in 32 bits, as they are: numbers of any size."""

    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Four for each value."""
        return 4 * prod(self.shape)

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Their bytes."""
        return _octets(values.astype(np.float32, copy=False))

    def decode(self, octets_BS: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The values, bit for bit."""
        return _values(octets_BS, np.float32).reshape(-1, *self.shape).copy()

    def __str__(self) -> str:
        return "float32"


@dataclass(frozen=True)
class Half:
    """All logits in float16, those beyond its range (±65504) at its ends."""

    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Two for each logit."""
        return 2 * prod(self.shape)

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Rounded to 11 bits."""
        return _octets(_half(values))

    def decode(self, octets_BS: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The rounded logits."""
        return _values(octets_BS, np.float16).reshape(-1, *self.shape).astype(np.float32)

    def __str__(self) -> str:
        return "float16"


@dataclass(frozen=True)
class Largest:
    """The largest logits in float16 with their classes, and what the others come to.

    Attributes:
        num_classes: K.
        top: How many are kept; less than K.
    """

    num_classes: int
    top: int

    @property
    def shape(self) -> tuple[int, ...]:
        """`(K,)`."""
        return (self.num_classes,)

    @property
    def size_bytes(self) -> int:
        """Logit and class of each that is kept, and four for the rest."""
        return (2 + self._index.itemsize) * self.top + 4

    @property
    def _index(self) -> np.dtype[Any]:
        return np.dtype(np.uint16 if self.num_classes <= 1 << 16 else np.uint32)

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The largest, their classes, and the log-sum-exp of the others."""
        order = np.argpartition(values, self.num_classes - self.top, axis=1)[:, -self.top :]
        kept = np.take_along_axis(values, order, axis=1)
        others = values.copy()
        np.put_along_axis(others, order, -np.inf, axis=1)
        parts = (_half(kept), order.astype(self._index), _log_sum_exp(others)[:, None])
        return np.concatenate([_octets(part) for part in parts], axis=1)

    def decode(self, octets_BS: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The logits `[B, K]`.

        Each of those that are not kept gets `rest − log(K − top)`: together they have the very probability they had at
        temperature 1. At higher temperatures they have a little more of it than they had, since they are taken to be alike
        (Jensen's inequality).
        """
        first, second = 2 * self.top, (2 + self._index.itemsize) * self.top
        kept = _values(octets_BS[:, :first], np.float16).astype(np.float32)
        order = _values(octets_BS[:, first:second], self._index).astype(np.int64)
        rest = _values(octets_BS[:, second:], np.float32)
        logits_BK = np.repeat(rest - np.float32(np.log(self.num_classes - self.top)), self.num_classes, axis=1)
        np.put_along_axis(logits_BK, order, kept, axis=1)
        return logits_BK

    def __str__(self) -> str:
        return f"float16, top {self.top} of {self.num_classes} and the rest as one"


@dataclass(frozen=True)
class Levels:
    """Maps `[K, ...]` in 8 bits: 256 equal levels between the smallest and the largest logit of each channel of a sample.

    An error is at most half a level, 1/510 of that range; logits beyond ±65504 are brought to that first.
    """

    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """One for each logit, and eight for the lower end and the step of each channel."""
        return prod(self.shape) + 8 * self.shape[0]

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Ends, steps and levels."""
        clipped = np.clip(values.reshape(len(values), self.shape[0], -1), -_LARGEST, _LARGEST)
        low_BK1 = clipped.min(axis=2, keepdims=True)
        step_BK1 = ((clipped.max(axis=2, keepdims=True) - low_BK1) / _LEVELS).astype(np.float32)
        # a channel that is the same everywhere has a step of 0, and level 0 everywhere
        levels = np.rint((clipped - low_BK1) / np.where(step_BK1 > 0, step_BK1, 1)).clip(0, _LEVELS)
        parts = (low_BK1, step_BK1, levels.astype(np.uint8))
        return np.concatenate([_octets(part) for part in parts], axis=1)

    def decode(self, octets_BS: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`low + step · level`."""
        first, second = 4 * self.shape[0], 8 * self.shape[0]
        low_BK1 = _values(octets_BS[:, :first], np.float32)[:, :, None]
        step_BK1 = _values(octets_BS[:, first:second], np.float32)[:, :, None]
        levels = octets_BS[:, second:].reshape(len(octets_BS), self.shape[0], -1)
        maps: NDArray[np.float32] = (low_BK1 + step_BK1 * levels.astype(np.float32)).reshape(-1, *self.shape)
        return maps

    def __str__(self) -> str:
        return "uint8"


@dataclass(frozen=True)
class Strided:
    """Maps `[K, H, W]` at a stride: those small maps of which the bilinear enlargement comes closest to them.

    Networks enlarge their last maps the same way (`models/network.py`), so that one whose own stride this is loses nothing
    but what the codec of the small maps rounds; an average over each cell would smooth them once more. Closest in the sum
    of squares: the enlargement is linear in each axis, and its pseudo-inverse is what the maps are multiplied with.

    Attributes:
        shape: `(K, H, W)`.
        stride: Of the small maps; the last cell of an axis may be cut.
        small: How these are written, `(K, ⌈H / stride⌉, ⌈W / stride⌉)`.
    """

    shape: tuple[int, int, int]
    stride: int
    small: Half | Levels

    @classmethod
    def of(cls, kind: type[Half | Levels], shape: tuple[int, int, int], *, stride: int) -> Strided:
        """Maps of this shape at a stride, the small ones by a codec of this kind."""
        channels, height, width = shape
        return cls(shape, stride, kind((channels, -(-height // stride), -(-width // stride))))

    @property
    def size_bytes(self) -> int:
        """Of the small maps."""
        return self.small.size_bytes

    def encode(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The small maps, by their codec."""
        (_, height, width), (_, low, narrow) = self.shape, self.small.shape
        clipped = np.clip(values, -_LARGEST, _LARGEST)
        small = _shrinking(height, low) @ (clipped @ _shrinking(width, narrow).T)
        return self.small.encode(small)

    def decode(self, octets_BS: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The small maps, enlarged."""
        found = np.empty((len(octets_BS), *self.shape), np.float32)
        for sample, small in zip(found, torch.from_numpy(self.small.decode(octets_BS)), strict=True):
            # one by one: in which of a kernel's loops a value falls, and so its last bit, may hang on the batch
            sample[:] = F.interpolate(small[None], self.shape[1:], mode="bilinear", align_corners=False)[0].numpy()
        return found

    def __str__(self) -> str:
        return f"{self.small} at a stride of {self.stride}"


def candidates(output: TensorSpec, *, exact: bool = False) -> list[Codec]:
    """The codecs that suit an output, from the most exact to the smallest; none for one that is not kept.

    Args:
        output: With its size in every axis; one with an axis that varies is not kept, nor one that holds no floats.
        exact: Whether values are numbers in the unit of the data rather than logits: these are kept as they are.
    """
    shape = tuple(size for size in output.shape if not isinstance(size, str))
    if output.varying or not output.dtype.startswith("float"):
        return []
    if exact:
        return [Exact(shape)]
    if len(shape) <= 1:
        many = prod(shape) > _FEW_CLASSES
        return [Half(shape), *(Largest(shape[0], top) for top in _TOPS if many)]
    found: list[Codec] = [Half(shape), Levels(shape)]
    if len(shape) == 3:
        channels, height, width = shape
        for stride in _STRIDES:
            if 2 * stride <= min(height, width):
                found += [Strided.of(kind, (channels, height, width), stride=stride) for kind in (Half, Levels)]
    # small maps of many channels gain nothing by levels, whose ends take their own bytes
    return [each for number, each in enumerate(found) if each.size_bytes < _smallest(found[:number])]


def _smallest(codecs: list[Codec]) -> float:
    return min((each.size_bytes for each in codecs), default=float("inf"))


@lru_cache(maxsize=8)
def _shrinking(full: int, small: int) -> NDArray[np.float32]:
    """The pseudo-inverse `[small, full]` of the bilinear enlargement of one axis."""
    one_hot = torch.eye(small, dtype=torch.float64)[None]
    enlarging = F.interpolate(one_hot, full, mode="linear", align_corners=False)[0].T.numpy()
    return np.asarray(np.linalg.pinv(enlarging), np.float32)


def _octets(values: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of each sample, `[B, S]`."""
    return np.ascontiguousarray(values).reshape(len(values), -1).view(np.uint8)


def _values(octets_BS: NDArray[np.uint8], dtype: Any) -> NDArray[Any]:
    """What stands in bytes, `[B, ...]`."""
    return np.ascontiguousarray(octets_BS).view(dtype)


def _half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    return np.ascontiguousarray(np.clip(values, -_LARGEST, _LARGEST).astype(np.float16))


def _log_sum_exp(values_BK: NDArray[np.float32]) -> NDArray[np.float32]:
    largest_B1 = values_BK.max(axis=1, keepdims=True)
    sums_B = np.exp(values_BK - largest_B1).sum(axis=1, dtype=np.float64)
    logs_B: NDArray[np.float32] = (np.log(sums_B) + largest_B1[:, 0]).astype(np.float32)
    return logs_B

"""Random numbers that are counted, not drawn: a pure function of seed, view, sample and purpose.

Seed, view and purpose start a stream, and the sample's number says which of its 64-bit words is meant. So a view is the
same in any batch, order, worker, process or resumed run, on a CPU or a GPU. The stream is SplitMix64 (Steele, Lea and
Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014; constants of Stafford's variant 13), in 64-bit
integers that wrap.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

_WORD = 2**64
_GOLDEN = 0x9E3779B97F4A7C15
CORNER_BITS = 21
"""Bits of the word without a purpose that place a crop from the top, and as many from the left; a flip has the next."""
_MIX_1, _MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@dataclass(frozen=True)
class Draw:
    """The random numbers of one view of some samples; each purpose has its own, independent of the others.

    Attributes:
        sample_ids: int64 `[B]`.
        view: Number of the view.
        seed: Of the views.
        scope: Goes before each purpose, so that two views of one class draw different numbers.
    """

    sample_ids: Tensor
    view: int
    seed: int
    scope: str = ""

    def bits(self, purpose: str) -> Tensor:
        """64 random bits for each sample, as int64 `[B]`."""
        return random_bits(self.sample_ids, view=self.view, seed=self.seed, purpose=self.scope + purpose)

    def uniform(self, purpose: str, low: float = 0.0, high: float = 1.0) -> Tensor:
        """float32 `[B]`, evenly spread from `low` to below `high`."""
        share_B = _shift(self.bits(purpose), 40).to(torch.float32) / 2**24
        return low + (high - low) * share_B

    def below(self, purpose: str, choices: int) -> Tensor:
        """int64 `[B]`, 0 to `choices − 1`; uneven by less than `choices` in 2³¹."""
        return (_shift(self.bits(purpose), 33) * choices) >> 31

    def chance(self, purpose: str, probability: float) -> Tensor:
        """bool `[B]`, true with a probability."""
        return self.uniform(purpose) < probability


def random_bits(sample_ids_B: Tensor, *, view: int, seed: int, purpose: str = "") -> Tensor:
    """64 random bits for each sample, as int64 `[B]`: word number `sample id` of the stream of seed, view and purpose."""
    start = _mix_int(_mix_int(seed + _GOLDEN) + (view + 1) * _GOLDEN)
    if purpose:
        start = _mix_int(start ^ _number(purpose))
    state = (sample_ids_B + 1) * _signed(_GOLDEN) + _signed(start)
    state = (state ^ _shift(state, 30)) * _signed(_MIX_1)
    state = (state ^ _shift(state, 27)) * _signed(_MIX_2)
    return state ^ _shift(state, 31)


@lru_cache(maxsize=256)
def _number(purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")


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

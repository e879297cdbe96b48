"""Texts as the tokens that a network reads: kept without padding, padded to the longest of a batch when they are fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.data.samples import InTable, JoinedSamples, Samples, SubsetSamples, TargetTable
from compressor.tensors import ATTENTION_MASK, Schema, TensorSpec

IDS, MASK, TYPES = "input_ids", ATTENTION_MASK, "token_type_ids"
"""What the inputs of a text are called, as in every network of `transformers`."""
TOKENS = "tokens"
"""The axis that varies from text to text."""


class TokenSamples(InTable):
    """Texts in memory, each as long as it is.

    Args:
        tokens: Numbers of the tokens of each text.
        table: Their targets.
        texts: What each was written as; what a report shows.
        padding: The number of the token that stands behind the end of a text.
        types: The number of the part that each token belongs to; None for networks that take none.
    """

    def __init__(
        self,
        tokens: Sequence[Sequence[int]],
        table: TargetTable,
        *,
        texts: Sequence[str],
        padding: int = 0,
        types: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.table, self.texts, self._padding = table, texts, padding
        self.lengths_N = np.array([len(each) for each in tokens], np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self.lengths_N)]).astype(np.int64)
        self._flat = {IDS: _joined(tokens)}
        if types is not None:
            self._flat[TYPES] = _joined(types)
        names = (IDS, MASK, *([TYPES] if types is not None else []))
        padded = {IDS: padding}
        self.inputs = Schema(tuple(TensorSpec(name, "int64", (TOKENS,), padded.get(name, 0)) for name in names))

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The texts at `positions` `[B]`, each input `[B, T]`; T tokens are those of the longest."""
        lengths_B = self.lengths_N[positions]
        longest = int(lengths_B.max(initial=1))
        within_BT = np.arange(longest) < lengths_B[:, None]
        places_BT = np.where(within_BT, self._starts[positions][:, None] + np.arange(longest), 0)
        found: dict[str, NDArray[Any]] = {
            IDS: np.where(within_BT, self._flat[IDS][places_BT], self._padding).astype(np.int64),
            MASK: within_BT.astype(np.int64),
        }
        if TYPES in self._flat:
            found[TYPES] = np.where(within_BT, self._flat[TYPES][places_BT], 0).astype(np.int64)
        return found

    def flat(self) -> dict[str, NDArray[Any]]:
        """The tokens of all texts one after another, and how many each has; what a fingerprint is taken of."""
        return {**self._flat, "lengths": self.lengths_N}

    def content_hashes(self) -> NDArray[np.uint64]:
        """A number for the tokens of each text `[N]`, alike for those that are alike."""
        digests = [
            hashlib.blake2b(self._flat[IDS][start:stop].tobytes(), digest_size=8).digest()
            for start, stop in pairwise(self._starts.tolist())
        ]
        return np.frombuffer(b"".join(digests), np.uint64)


def lengths_of(samples: Samples) -> NDArray[np.int64] | None:
    """How many tokens each sample has `[N]`; None where they are no texts."""
    if isinstance(samples, TokenSamples):
        return samples.lengths_N
    if isinstance(samples, JoinedSamples):
        first, second = lengths_of(samples.first), lengths_of(samples.second)
        return None if first is None or second is None else np.concatenate([first, second])
    below = getattr(samples, "samples", None)
    found = None if below is None else lengths_of(below)
    return found[samples.positions] if found is not None and isinstance(samples, SubsetSamples) else found


def longest_of(samples: Samples) -> dict[str, int]:
    """The size of the axis of tokens in the longest sample; nothing where samples are no texts."""
    lengths_N = lengths_of(samples)
    return {} if lengths_N is None else {TOKENS: int(lengths_N.max())}


def texts_of(samples: Samples, positions: NDArray[np.int64]) -> list[str] | None:
    """What the samples at some positions were written as; None where they are no texts."""
    if isinstance(samples, TokenSamples):
        return [samples.texts[position] for position in positions]
    below = getattr(samples, "samples", None)
    if below is None:
        return None
    return texts_of(below, samples.positions[positions] if isinstance(samples, SubsetSamples) else positions)


def _joined(rows: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    return np.array([number for row in rows for number in row], np.int32)

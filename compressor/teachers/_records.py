"""A teacher's answers on disk: one record for each (view, sample), each with a tag that says whether it can be believed.

A file holds one view: `view-00003.bin`, a fixed-size record for every sample, sparse until it is filled. A record is the
answer and a 64-bit tag over it, mixed with the key of the cache, the view and the sample. A record whose tag does not
fit is not there: never written, torn by a crash, damaged, or of another cache, view or sample. So nothing has to be
written in any order, processes may write at once, and a view can be added without touching the others.

Records are read and written with `pread` and `pwrite`, not through a mapping: a mapped file that is cut short, or
written to on a full disk, kills the process, where these raise; and for the scattered rows of a batch they are quicker
as well (128 records of 1 000 classes out of 20 000, one thread: 0.16 ms against 0.82 ms).

Shape letters: B batch, K classes, W 64-bit words of an answer.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.files import opened_here

_WORD = np.dtype(np.uint64)
_LARGEST = 65504.0  # of float16
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_HALF_WORD = np.uint64(32)


@dataclass(frozen=True)
class Form:
    """How an answer is written.

    Attributes:
        num_classes: K.
        top: How many of the largest logits are kept with their classes, beside what the others come to; 0 keeps all.
            Less than K.
        exact: Whether all are kept in 32 bits, as they are: numbers of any size, where logits are rounded to 16.
    """

    num_classes: int
    top: int = 0
    exact: bool = False

    @property
    def words(self) -> int:
        """64-bit words of an answer."""
        whole = (4 if self.exact else 2) * self.num_classes
        size = whole if self.top == 0 else (2 + self._index.itemsize) * self.top + 4
        return -(-size // _WORD.itemsize)

    @property
    def record_bytes(self) -> int:
        """Bytes of a record: the answer and its tag."""
        return (self.words + 1) * _WORD.itemsize

    @property
    def _index(self) -> np.dtype[Any]:
        return np.dtype(np.uint16 if self.num_classes <= 1 << 16 else np.uint32)

    def __str__(self) -> str:
        if self.exact:
            return "float32"
        return "float16" if self.top == 0 else f"float16, top {self.top} of {self.num_classes} and the rest as one"

    def pack(self, logits_BK: NDArray[np.float32]) -> NDArray[np.uint64]:
        """Finite logits as words `[B, W]`: rounded to float16, those beyond its range (±65504) to its ends; or exact."""
        if self.exact:
            return _as_words([np.ascontiguousarray(logits_BK, np.float32)], num_words=self.words)
        if self.top == 0:
            return _as_words([_half(logits_BK)], num_words=self.words)
        order = np.argpartition(logits_BK, self.num_classes - self.top, axis=1)[:, -self.top :]
        kept = np.take_along_axis(logits_BK, order, axis=1)
        others = logits_BK.copy()
        np.put_along_axis(others, order, -np.inf, axis=1)
        parts = [_half(kept), order.astype(self._index), _log_sum_exp(others)[:, None]]
        return _as_words(parts, num_words=self.words)

    def unpack(self, words_BW: NDArray[np.uint64]) -> NDArray[np.float32]:
        """The logits `[B, K]` in words.

        Where only the largest are kept, each of the others gets `rest − log(K − top)`: together they have the very
        probability they had at temperature 1. At higher temperatures they have a little more of it than they had, since
        they are taken to be alike (Jensen's inequality).
        """
        octets = np.ascontiguousarray(words_BW).view(np.uint8)
        if self.exact:
            return np.ascontiguousarray(octets[:, : 4 * self.num_classes]).view(np.float32)
        if self.top == 0:
            return np.ascontiguousarray(octets[:, : 2 * self.num_classes]).view(np.float16).astype(np.float32)
        first, second = 2 * self.top, (2 + self._index.itemsize) * self.top
        kept = np.ascontiguousarray(octets[:, :first]).view(np.float16).astype(np.float32)
        order = np.ascontiguousarray(octets[:, first:second]).view(self._index).astype(np.int64)
        rest = np.ascontiguousarray(octets[:, second : second + 4]).view(np.float32)
        logits_BK = np.repeat(rest - np.float32(np.log(self.num_classes - self.top)), self.num_classes, axis=1)
        np.put_along_axis(logits_BK, order, kept, axis=1)
        return logits_BK


class AnswerStore:
    """Answers to views of the samples of one set. Holds nothing open, so that its folder may be deleted at any time.

    Args:
        folder: Where its files lie.
        key: Of the cache; records of another one are not believed.
        num_samples: Of the set.
        form: How an answer is written.
    """

    def __init__(self, folder: Path, *, key: str, num_samples: int, form: Form) -> None:
        self.folder = folder
        self.form = form
        self._num_samples = num_samples
        self._seed = np.uint64(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little"))
        odd = np.random.default_rng(0x5EED).integers(0, 2**64, form.words, dtype=np.uint64)
        self._multipliers = odd | np.uint64(1)

    def read(self, view: int, sample_ids_B: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The logits `[B, K]` that are kept, and for which rows they are there; other rows are zeros."""
        records = self._records(view, sample_ids_B)
        there_B = records[:, -1] == self._tags(view, sample_ids_B, records[:, :-1])
        if there_B.all():
            return self.form.unpack(records[:, :-1]), there_B
        logits_BK = np.zeros((len(sample_ids_B), self.form.num_classes), np.float32)
        if there_B.any():
            logits_BK[there_B] = self.form.unpack(records[there_B, :-1])
        return logits_BK, there_B

    def write(self, view: int, sample_ids_B: NDArray[np.int64], logits_BK: NDArray[np.float32]) -> NDArray[np.float32]:
        """Keep answers; returns them as `read` would give them.

        Raises:
            OSError: The disk is full, or not ours to write.
        """
        assert sample_ids_B.size == 0 or 0 <= sample_ids_B.min() <= sample_ids_B.max() < self._num_samples, sample_ids_B
        words_BW = self.form.pack(logits_BK)
        tags_B = self._tags(view, sample_ids_B, words_BW)
        records = np.concatenate([words_BW, tags_B[:, None]], axis=1)
        size = self.form.record_bytes
        with opened_here(self._path(view), os.O_RDWR | os.O_CREAT) as file:
            for sample_id, record in zip(sample_ids_B.tolist(), records, strict=True):
                os.pwrite(file, record, sample_id * size)
        return self.form.unpack(words_BW)

    def _records(self, view: int, sample_ids_B: NDArray[np.int64]) -> NDArray[np.uint64]:
        """What the file holds `[B, W + 1]`; zeros, which are no record, for what cannot be read."""
        size = self.form.record_bytes
        try:
            with opened_here(self._path(view), os.O_RDONLY) as file:
                read = [
                    os.pread(file, size, sample_id * size).ljust(size, b"\0") for sample_id in sample_ids_B.tolist()
                ]
        except OSError:
            return np.zeros((len(sample_ids_B), self.form.words + 1), _WORD)
        return np.frombuffer(b"".join(read), _WORD).reshape(len(sample_ids_B), self.form.words + 1)

    def _tags(self, view: int, sample_ids_B: NDArray[np.int64], words_BW: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The tags `[B]` that fit the answers at their places.

        Multilinear hashing modulo 2^64 (Lemire and Kaser 2014, arXiv 1202.4961). Times an odd number is one to one, so
        one changed word always changes the sum; the high half of a word is folded into the low one beforehand, as
        otherwise its highest bit would reach no other bit of the sum, and an even number of them would cancel out.
        """
        with np.errstate(over="ignore"):
            place_B = _mixed(self._seed + np.uint64(view + 1) * _GOLDEN + sample_ids_B.astype(np.uint64) * _MIX_1)
            folded_BW = words_BW ^ (words_BW >> _HALF_WORD)
            sums_B = (folded_BW * self._multipliers).sum(axis=1, dtype=np.uint64)
            return _mixed(sums_B ^ place_B) | np.uint64(1)  # never 0, which is what an unwritten record holds

    def _path(self, view: int) -> Path:
        return self.folder / f"view-{view:05d}.bin"


def _as_words(parts: list[NDArray[Any]], *, num_words: int) -> NDArray[np.uint64]:
    """Arrays `[B, …]` side by side, byte for byte, filled up with zeros to whole words."""
    words_BW = np.zeros((len(parts[0]), num_words), _WORD)
    octets, start = words_BW.view(np.uint8), 0
    for part in parts:
        end = start + part.shape[1] * part.itemsize
        octets[:, start:end] = part.view(np.uint8)
        start = end
    return words_BW


def _half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    return np.ascontiguousarray(np.clip(values, -_LARGEST, _LARGEST).astype(np.float16))


def _log_sum_exp(values_BK: NDArray[np.float32]) -> NDArray[np.float32]:
    largest_B1 = values_BK.max(axis=1, keepdims=True)
    sums_B = np.exp(values_BK - largest_B1).sum(axis=1, dtype=np.float64)
    logs_B: NDArray[np.float32] = (np.log(sums_B) + largest_B1[:, 0]).astype(np.float32)
    return logs_B


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Stafford's variant 13 of the finaliser of MurmurHash3, as in SplitMix64."""
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    mixed: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return mixed

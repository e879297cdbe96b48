"""A teacher's answers on disk: one record for each (view, sample), each with a tag that says whether it can be believed.

A file holds one view: `view-00003.bin`, a fixed-size record for every sample, sparse until it is filled. A record is the
answer and a 64-bit tag over it, mixed with the key of the cache, the view and the sample. A record whose tag does not fit is
not there: never written, torn by a crash, damaged, or of another cache, view or sample. So nothing has to be written in any
order, processes may write at once, and a view can be added without touching the others.

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

_WORD = np.dtype(np.uint64)
_LARGEST = 65504.0  # of float16
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Form:
    """How an answer is written.

    Attributes:
        num_classes: K.
        top: How many of the largest logits are kept with their classes, beside what the others come to; 0 keeps all.
    """

    num_classes: int
    top: int = 0

    @property
    def words(self) -> int:
        """64-bit words of an answer."""
        size = 2 * self.num_classes if self.top == 0 else 2 * self.top + _INDEX.itemsize * self.top + 4
        return -(-size // _WORD.itemsize)

    @property
    def record_bytes(self) -> int:
        """Bytes of a record: the answer and its tag."""
        return (self.words + 1) * _WORD.itemsize

    def __str__(self) -> str:
        return "float16" if self.top == 0 else f"float16, top {self.top} of {self.num_classes} and the rest as one"

    def pack(self, logits_BK: NDArray[np.float32]) -> NDArray[np.uint64]:
        """Answers as words `[B, W]`."""
        if self.top == 0:
            parts = [_half(logits_BK).view(np.uint8)]
        else:
            order = np.argpartition(-logits_BK, self.top - 1, axis=1)[:, : self.top]
            kept = np.take_along_axis(logits_BK, order, axis=1)
            rest = logits_BK.astype(np.float64).copy()
            np.put_along_axis(rest, order, -np.inf, axis=1)
            parts = [
                _half(kept).view(np.uint8),
                order.astype(_INDEX).view(np.uint8),
                _log_sum_exp(rest).astype(np.float32)[:, None].view(np.uint8),
            ]
        packed = np.zeros((len(logits_BK), self.words * _WORD.itemsize), np.uint8)
        start = 0
        for part in parts:
            packed[:, start : start + part.shape[1]] = part
            start += part.shape[1]
        return packed.view(_WORD)

    def unpack(self, words_BW: NDArray[np.uint64]) -> NDArray[np.float32]:
        """The logits `[B, K]` in words.

        Where only the largest are kept, each of the others gets `rest − log(K − top)`: together they have the very
        probability they had at temperature 1. At higher temperatures they have a little more of it than they had, since
        they are taken to be alike (Jensen's inequality).
        """
        octets = np.ascontiguousarray(words_BW).view(np.uint8)
        if self.top == 0:
            return np.ascontiguousarray(octets[:, : 2 * self.num_classes]).view(np.float16).astype(np.float32)
        first, second = 2 * self.top, 2 * self.top + _INDEX.itemsize * self.top
        kept = np.ascontiguousarray(octets[:, :first]).view(np.float16).astype(np.float32)
        order = np.ascontiguousarray(octets[:, first:second]).view(_INDEX).astype(np.int64)
        rest = np.ascontiguousarray(octets[:, second : second + 4]).view(np.float32)
        logits_BK = np.repeat(rest - np.float32(np.log(self.num_classes - self.top)), self.num_classes, axis=1)
        np.put_along_axis(logits_BK, order, kept, axis=1)
        return logits_BK


_INDEX = np.dtype(np.uint32)


class AnswerStore:
    """Answers to views of the samples of one set.

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
        self._multipliers = odd | np.uint64(1)  # times an odd number is one to one: one changed word changes the tag
        self._files: dict[int, int] = {}

    def read(self, view: int, sample_ids_B: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The logits `[B, K]` that are kept, and for which rows they are there; other rows are zeros."""
        records = self._records(view, sample_ids_B)
        there_B = records[:, -1] == self._tags(view, sample_ids_B, records[:, :-1])
        logits_BK = np.zeros((len(sample_ids_B), self.form.num_classes), np.float32)
        if there_B.any():
            logits_BK[there_B] = self.form.unpack(records[there_B, :-1])
        return logits_BK, there_B

    def write(self, view: int, sample_ids_B: NDArray[np.int64], logits_BK: NDArray[np.float32]) -> NDArray[np.float32]:
        """Keep answers; returns them as `read` would give them.

        Raises:
            OSError: The disk is full, or not ours to write.
        """
        words_BW = self.form.pack(logits_BK)
        tags_B = self._tags(view, sample_ids_B, words_BW)
        records = np.concatenate([words_BW, tags_B[:, None]], axis=1)
        size, file = self.form.record_bytes, self._file(view)
        order = np.argsort(sample_ids_B)
        # written, not mapped: on a full disk a mapped write kills the process, this one raises
        for row in order:
            os.pwrite(file, records[row].tobytes(), int(sample_ids_B[row]) * size)
        return self.form.unpack(words_BW)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    def _records(self, view: int, sample_ids_B: NDArray[np.int64]) -> NDArray[np.uint64]:
        size = self.form.record_bytes
        records = np.zeros((len(sample_ids_B), self.form.words + 1), _WORD)
        path = self._path(view)
        if not path.exists():
            return records
        # A file cut short must not kill the process, as reading past the end of a mapped one does.
        whole = min(path.stat().st_size // size, self._num_samples)
        if whole:
            mapped = np.memmap(path, _WORD, mode="r", shape=(whole, self.form.words + 1))
            inside = sample_ids_B < whole
            records[inside] = mapped[sample_ids_B[inside]]
        return records

    def _tags(self, view: int, sample_ids_B: NDArray[np.int64], words_BW: NDArray[np.uint64]) -> NDArray[np.uint64]:
        with np.errstate(over="ignore"):
            place_B = _mixed(self._seed + np.uint64(view + 1) * _GOLDEN + sample_ids_B.astype(np.uint64) * _MIX_1)
            sums_B = (words_BW * self._multipliers).sum(axis=1, dtype=np.uint64)
            return _mixed(sums_B ^ place_B) | np.uint64(1)  # never 0, which is what an unwritten record holds

    def _file(self, view: int) -> int:
        if view not in self._files:
            file = os.open(self._path(view), os.O_RDWR | os.O_CREAT, 0o644)
            self._files[view] = file
            if os.fstat(file).st_size < self._num_samples * self.form.record_bytes:
                os.ftruncate(file, self._num_samples * self.form.record_bytes)
        return self._files[view]

    def _path(self, view: int) -> Path:
        return self.folder / f"view-{view:05d}.bin"


def _half(values: NDArray[Any]) -> NDArray[np.float16]:
    return np.ascontiguousarray(np.clip(values, -_LARGEST, _LARGEST).astype(np.float16))


def _log_sum_exp(values_BK: NDArray[np.float64]) -> NDArray[np.float64]:
    largest_B1 = values_BK.max(axis=1, keepdims=True)
    total: NDArray[np.float64] = np.log(np.exp(values_BK - largest_B1).sum(axis=1)) + largest_B1[:, 0]
    return total


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Stafford's variant 13 of the finaliser of MurmurHash3, as in SplitMix64."""
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    mixed: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return mixed

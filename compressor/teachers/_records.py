"""A teacher's answers on disk: one record for each (view, sample), each with a tag that says whether it can be believed.

A file holds one view: `view-00003.bin`, a fixed-size record for every sample, sparse until it is filled. A record is all
outputs of the answer, one after the other, and a 64-bit tag over them, mixed with the key of the cache, the view and the
sample. A record whose tag does not fit is not there: never written, torn by a crash, damaged, or of another cache, view or
sample. So nothing has to be written in any order, processes may write at once, and a view can be added without touching
the others.

Records are read and written with `pread` and `pwrite`, not through a mapping: a mapped file that is cut short, or
written to on a full disk, kills the process, where these raise; and for the scattered rows of a batch they are quicker
as well (128 records of 1 000 classes out of 20 000, one thread: 0.16 ms against 0.82 ms).

Shape letters: B batch, W 64-bit words of an answer.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.errors import ModelError
from compressor.files import opened_here
from compressor.teachers._codecs import Codec
from compressor.tensors import Outputs

Answer = Mapping[str, NDArray[np.float32]]
"""The outputs of a batch by name, each `[B, ...]`."""

_WORD = np.dtype(np.uint64)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_HALF_WORD = np.uint64(32)


@dataclass(frozen=True)
class Form:
    """How an answer is written.

    Attributes:
        codecs: For each output that is kept, in the order of the record: its name, and how it is written.
        varying: For each output of which an axis varies its name and its axes; it is written as long as the longest sample.
    """

    codecs: tuple[tuple[str, Codec], ...]
    varying: tuple[tuple[str, tuple[int | str, ...]], ...] = ()

    @property
    def words(self) -> int:
        """64-bit words of an answer."""
        return -(-sum(codec.size_bytes for _, codec in self.codecs) // _WORD.itemsize)

    @property
    def record_bytes(self) -> int:
        """Bytes of a record: the answer and its tag."""
        return (self.words + 1) * _WORD.itemsize

    def __str__(self) -> str:
        if len(self.codecs) == 1:
            return str(self.codecs[0][1])
        return "; ".join(f"{name}: {codec}" for name, codec in self.codecs)

    def of(self, outputs: Outputs) -> dict[str, NDArray[np.float32]]:
        """The outputs that are kept, in NumPy; zeros fill up what is shorter than the longest.

        Raises:
            ModelError: One is missing, or has another shape than the task says.
        """
        found, given = {}, outputs.tensors
        for name, codec in self.codecs:
            tensor = outputs.logits if len(given) == 1 else given.get(name)
            if tensor is None or not self._admits(name, tuple(tensor.shape[1:]), codec.shape):
                told = ", ".join(f"'{each}' {list(value.shape[1:])}" for each, value in given.items())
                raise ModelError(
                    f"the teacher gives {told}; the task wants '{name}' {list(codec.shape)} of each sample",
                    where="teacher",
                    hint="distill.cache_gb = 0 keeps nothing and asks it in every step",
                )
            values = tensor.detach().float().cpu().numpy()
            beyond = [(0, full - size) for size, full in zip(values.shape[1:], codec.shape, strict=True)]
            found[name] = np.pad(values, [(0, 0), *beyond]) if any(more for _, more in beyond) else values
        return found

    def _admits(self, name: str, shape: tuple[int, ...], full: tuple[int, ...]) -> bool:
        axes = dict(self.varying).get(name, full)
        return len(shape) == len(full) and all(
            size <= most if isinstance(axis, str) else size == most
            for size, most, axis in zip(shape, full, axes, strict=True)
        )

    def cut(
        self, answer: Mapping[str, NDArray[np.float32]], sizes: Mapping[str, int]
    ) -> dict[str, NDArray[np.float32]]:
        """Outputs as long as the batch is, which has these sizes of axes that vary."""
        found = dict(answer)
        for name, axes in self.varying:
            within = tuple(slice(sizes[axis]) if isinstance(axis, str) else slice(None) for axis in axes)
            found[name] = np.ascontiguousarray(found[name][(slice(None), *within)])
        return found

    def pack(self, answer: Answer) -> NDArray[np.uint64]:
        """Finite outputs as words `[B, W]`, filled up with zeros."""
        size = len(next(iter(answer.values())))
        words_BW = np.zeros((size, self.words), _WORD)
        octets, start = words_BW.view(np.uint8), 0
        for name, codec in self.codecs:
            octets[:, start : start + codec.size_bytes] = codec.encode(answer[name])
            start += codec.size_bytes
        return words_BW

    def unpack(self, words_BW: NDArray[np.uint64]) -> dict[str, NDArray[np.float32]]:
        """The outputs in words, by name."""
        octets, start = np.ascontiguousarray(words_BW).view(np.uint8), 0
        answer = {}
        for name, codec in self.codecs:
            answer[name] = codec.decode(octets[:, start : start + codec.size_bytes])
            start += codec.size_bytes
        return answer

    def nothing(self, count: int) -> dict[str, NDArray[np.float32]]:
        """Zeros in the place of the outputs of so many samples."""
        return {name: np.zeros((count, *codec.shape), np.float32) for name, codec in self.codecs}


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

    def read(
        self, view: int, sample_ids_B: NDArray[np.int64]
    ) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.bool_]]:
        """The outputs that are kept, and for which rows they are there `[B]`; other rows are zeros."""
        records = self._records(view, sample_ids_B)
        there_B = records[:, -1] == self._tags(view, sample_ids_B, records[:, :-1])
        if there_B.all():
            return self.form.unpack(records[:, :-1]), there_B
        answer = self.form.nothing(len(sample_ids_B))
        if there_B.any():
            for name, values in self.form.unpack(records[there_B, :-1]).items():
                answer[name][there_B] = values
        return answer, there_B

    def write(self, view: int, sample_ids_B: NDArray[np.int64], answer: Answer) -> dict[str, NDArray[np.float32]]:
        """Keep answers; returns them as `read` would give them.

        Raises:
            OSError: The disk is full, or not ours to write.
        """
        assert sample_ids_B.size == 0 or 0 <= sample_ids_B.min() <= sample_ids_B.max() < self._num_samples, sample_ids_B
        words_BW = self.form.pack(answer)
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


def is_finite(answer: Answer) -> bool:
    """Whether no output of it holds a NaN or an infinity, so that it can be kept."""
    return all(bool(np.isfinite(values).all()) for values in answer.values())


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Stafford's variant 13 of the finaliser of MurmurHash3, as in SplitMix64."""
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    mixed: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return mixed

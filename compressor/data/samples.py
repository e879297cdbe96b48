"""Samples, splits and data sets: what a format returns and what the stages work with.

A `Samples` gives any of its samples by position, from memory or from files; `Splits` is what a format read; `Dataset`
is what remains once validation and test sets are settled (`data/open.py`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compressor.artifact import Decision
from compressor.errors import DataError

FILES_LEFT_OUT, ARRAYS_LEFT_OUT = "files left out", "arrays left out"
"""What decisions are called that name what lies where the samples do and is not read."""


class Samples(Protocol):
    """Labelled samples, read by position."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices `[N]`; −1 for a training sample that has none."""
        ...

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """`(C, H, W)` for images, `(F,)` for vectors."""
        ...

    def __len__(self) -> int: ...

    def fetch(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """The samples at `positions` `[B]` as a fresh `[B, *sample_shape]`: uint8 0–255 for pixels, else float32."""
        ...


class ArraySamples:
    """Samples that lie in memory.

    Args:
        inputs: `[N, C, H, W]` or `[N, F]`, uint8 or float32.
        labels: `[N]`, any integer type.

    Raises:
        DataError: Another type, another shape, or not one label for each sample.
    """

    def __init__(self, inputs: NDArray[Any], labels: NDArray[Any]) -> None:
        if inputs.dtype not in (np.uint8, np.float32):
            raise DataError(f"samples are {inputs.dtype}", hint="give uint8 (0-255) or float32")
        if inputs.ndim not in (2, 4):
            raise DataError(f"samples have the shape {inputs.shape}", hint="give [N, C, H, W] or [N, F]")
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise DataError(f"labels are {labels.dtype} {labels.shape}", hint="give whole numbers [N]")
        if len(inputs) != len(labels):
            raise DataError(f"{len(inputs)} samples but {len(labels)} labels")
        self._inputs = inputs
        self.labels: NDArray[np.int64] = labels.astype(np.int64)
        self.sample_shape: tuple[int, ...] = inputs.shape[1:]

    def __len__(self) -> int:
        return len(self._inputs)

    def fetch(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """The samples at `positions`, copied."""
        return np.take(self._inputs, positions, axis=0)

    def content_hashes(self) -> NDArray[np.uint64]:
        """A number for the content of each sample `[N]`, alike for those that are alike."""
        rows = np.ascontiguousarray(self._inputs)
        digests = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in rows)
        return np.frombuffer(digests, np.uint64)


class SubsetSamples:
    """Some samples of another; a subset of a subset reads from the first directly.

    Args:
        samples: Where to read.
        positions: `[M]` positions in `samples`.
    """

    def __init__(self, samples: Samples, positions: NDArray[np.int64]) -> None:
        if isinstance(samples, SubsetSamples):
            positions = samples.positions[positions]
            samples = samples.samples
        self.samples: Samples = samples
        self.positions: NDArray[np.int64] = positions
        self.labels: NDArray[np.int64] = samples.labels[positions]
        self.sample_shape: tuple[int, ...] = samples.sample_shape

    def __len__(self) -> int:
        return len(self.positions)

    def fetch(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """The samples at `positions` of the subset."""
        return self.samples.fetch(self.positions[positions])

    def content_hashes(self) -> NDArray[np.uint64] | None:
        """Those of the samples that these are some of, where they have any."""
        found = content_hashes(self.samples)
        return None if found is None else found[self.positions]


class JoinedSamples:
    """The samples of two sets as one, the second after the first; in float32 where only one of them stores bytes.

    Args:
        first: Some samples.
        second: Others of the same shape.
    """

    def __init__(self, first: Samples, second: Samples) -> None:
        assert first.sample_shape == second.sample_shape, "samples of different shapes"
        self.first, self.second = first, second
        self.labels: NDArray[np.int64] = np.concatenate([first.labels, second.labels])
        self.sample_shape: tuple[int, ...] = first.sample_shape
        some = np.zeros(1, np.int64)
        self._dtype = np.result_type(first.fetch(some), second.fetch(some))

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def fetch(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """The samples at `positions`."""
        later = positions >= len(self.first)
        fetched = np.empty((len(positions), *self.sample_shape), self._dtype)
        for rows, samples, start in ((~later, self.first, 0), (later, self.second, len(self.first))):
            if rows.any():
                part = samples.fetch(positions[rows] - start)
                fetched[rows] = part / np.float32(255) if part.dtype != self._dtype else part
        return fetched

    def content_hashes(self) -> NDArray[np.uint64] | None:
        """Those of both, where both have them."""
        first, second = content_hashes(self.first), content_hashes(self.second)
        return None if first is None or second is None else np.concatenate([first, second])


def content_hashes(samples: Samples) -> NDArray[np.uint64] | None:
    """A number for the content of each sample `[N]`; None for samples that are not read before they are used."""
    if not hasattr(samples, "content_hashes"):
        return None
    found: NDArray[np.uint64] | None = samples.content_hashes()
    return found


@dataclass(frozen=True)
class Splits:
    """What a format read from one place.

    Attributes:
        classes: Class names; a label is a position in it.
        train: Training samples.
        val: Validation samples, if the set has its own.
        test: Test samples, if the set has its own.
        fingerprint: SHA-256 (hex) of the content, independent of where the files lie.
        decisions: What the format chose by itself, and why.
        unreadable: Names of the samples that could not be read and were left out.
        looked_at: How many samples were looked at to find those; None for all.
        label_sets: Whether a label is a set of classes (`compressor.label_sets`), not a position in them.
        targets: Where samples have numbers for labels: all of them `[M, K]`, of which a label is a row; `classes` are then
            the names of the K numbers.
    """

    classes: tuple[str, ...]
    train: Samples
    val: Samples | None
    test: Samples | None
    fingerprint: str
    decisions: tuple[Decision, ...] = ()
    unreadable: tuple[str, ...] = ()
    looked_at: int | None = None
    label_sets: bool = False
    targets: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Dataset:
    """A data set with its splits settled.

    Attributes:
        source: As the user named it (`images:flowers`).
        classes: Class names; a label is a position in it.
        train: Training samples.
        val: Validation samples; None when none are wanted.
        test: Test samples.
        fingerprint: SHA-256 (hex) of the content and of how it was split.
        decisions: What was chosen automatically, and why.
        label_sets: Whether a label is a set of classes (`compressor.label_sets`), not a position in them.
        targets: Where samples have numbers for labels: all of them `[M, K]`, of which a label is a row; `classes` are then
            the names of the K numbers.
        test_fingerprint: SHA-256 (hex) of the content and of which samples are for testing, whatever the others are for.
    """

    source: str
    classes: tuple[str, ...]
    train: Samples
    val: Samples | None
    test: Samples
    fingerprint: str
    decisions: tuple[Decision, ...]
    label_sets: bool = False
    targets: NDArray[np.float32] | None = None
    test_fingerprint: str = ""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """`(C, H, W)` for images, `(F,)` for vectors; the same in every split."""
        return self.train.sample_shape

    @property
    def one_class_each(self) -> bool:
        """Whether a label is one class, rather than a set of them or a row of numbers."""
        return not self.label_sets and self.targets is None

    @property
    def target_statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation `[K]` of the training targets; of the validation targets where those are hidden.

        Raises:
            DataError: Neither is known.
        """
        assert self.targets is not None, "the labels are no numbers"
        for samples in (self.train, self.val):
            labels = np.zeros(0, np.int64) if samples is None else samples.labels[samples.labels >= 0]
            if len(labels):
                seen_MK = self.targets[labels].astype(np.float64)
                return seen_MK.mean(axis=0), seen_MK.std(axis=0)
        hint = "give some training samples a target, or a validation set"
        raise DataError("no sample for training or validation has a target", where=self.source, hint=hint)

    @property
    def is_image(self) -> bool:
        """Whether samples are `(C, H, W)`."""
        return len(self.sample_shape) == 3

    def describe(self) -> dict[str, Any]:
        """What a manifest keeps under `data`; a split that is absent has size 0; `unlabelled` counts among `train`."""
        unlabelled = int((self.train.labels < 0).sum())
        return {
            "source": self.source,
            "fingerprint": self.fingerprint,
            "test_fingerprint": self.test_fingerprint,
            "classes": list(self.classes),
            "sizes": {
                "train": len(self.train),
                "val": 0 if self.val is None else len(self.val),
                "test": len(self.test),
            }
            | ({"unlabelled": unlabelled} if unlabelled else {}),
            "sample_shape": list(self.sample_shape),
        }

"""Samples, splits and data sets: what a format returns and what the stages work with.

A `Samples` gives any of its samples by position, from memory or from files; `Splits` is what a format read; `Dataset`
is what remains once validation and test sets are settled (`data/open.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compressor import label_sets
from compressor.artifact import Decision
from compressor.data.digests import digests
from compressor.errors import DataError
from compressor.tensors import LABEL, MEMBERS, VALUES, Schema, TensorSpec

FILES_LEFT_OUT, ARRAYS_LEFT_OUT = "files left out", "arrays left out"
"""What decisions are called that name what lies where the samples do and is not read."""


class Samples(Protocol):
    """Samples, read by position, with or without targets."""

    @property
    def inputs(self) -> Schema:
        """What a sample is made of: `image` uint8 `[C, H, W]`, say, or `features` float32 `[F]`."""
        ...

    @property
    def targets(self) -> Schema:
        """What is known of a sample that has targets."""
        ...

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Whether each sample has targets, `[N]`; a training sample may have none."""
        ...

    def __len__(self) -> int: ...

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The inputs at `positions` `[B]`, each as a fresh `[B, ...]`; an axis that varies is padded to the longest."""
        ...

    def fetch_targets(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The targets at `positions` `[B]`, each `[B, ...]`; those of a sample without targets are zeros."""
        ...


class TargetTable:
    """The targets of samples, in memory.

    Args:
        arrays: By name, `[N, ...]`; zeros where a sample has none.
        labelled: `[N]`; by default every sample has targets.

    Raises:
        DataError: They are not equally many.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], *, labelled: NDArray[np.bool_] | None = None) -> None:
        lengths = {len(array) for array in arrays.values()} | (set() if labelled is None else {len(labelled)})
        if len(lengths) != 1:
            raise DataError(f"targets of {' and '.join(map(str, sorted(lengths)))} samples")
        self.arrays = dict(arrays)
        self.labelled = np.ones(lengths.pop(), np.bool_) if labelled is None else labelled
        self.schema = Schema.of_arrays(self.arrays)

    @classmethod
    def of_labels(cls, labels_N: NDArray[Any]) -> TargetTable:
        """One class number for each sample, −1 for one that has none.

        Raises:
            DataError: They are no whole numbers `[N]` from −1.
        """
        if labels_N.ndim != 1 or labels_N.dtype.kind not in "iu":
            raise DataError(f"labels are {labels_N.dtype} {labels_N.shape}", hint="give whole numbers [N]")
        numbers_N = labels_N.astype(np.int64)
        if len(numbers_N) and numbers_N.min() < -1:
            hint = "a label is a position in the classes, or -1 for a sample that has none"
            raise DataError(f"labels run from {numbers_N.min()} to {numbers_N.max()}", hint=hint)
        return cls({LABEL: np.maximum(numbers_N, 0)}, labelled=numbers_N >= 0)

    def __len__(self) -> int:
        return len(self.labelled)

    def at(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The targets at `positions`, copied."""
        return {name: np.take(array, positions, axis=0) for name, array in self.arrays.items()}


class InTable:
    """What all samples share whose targets lie in a table in memory."""

    table: TargetTable

    @property
    def targets(self) -> Schema:
        """What is known of a sample that has targets."""
        return self.table.schema

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Whether each sample has targets, `[N]`."""
        return self.table.labelled

    def __len__(self) -> int:
        return len(self.table)

    def fetch_targets(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The targets at `positions`."""
        return self.table.at(positions)


class ArraySamples(InTable):
    """Samples that lie in memory.

    Args:
        inputs: By name, `[N, ...]`; uint8, float32, int64 or bool.
        table: Their targets; or class numbers `[N]`, −1 for a sample that has none.

    Raises:
        DataError: Another type, or not one row of targets for each sample.
    """

    def __init__(self, inputs: Mapping[str, NDArray[Any]], table: TargetTable | NDArray[Any]) -> None:
        self.table = table if isinstance(table, TargetTable) else TargetTable.of_labels(table)
        for name, array in inputs.items():
            if array.dtype not in _STORED or array.ndim < 1:
                told = f"'{name}' is {array.dtype} of shape {array.shape}"
                raise DataError(told, hint="give uint8 (0-255), float32, int64 or bool, [N, ...]")
            if len(array) != len(self.table):
                raise DataError(f"{len(array)} samples but {len(self.table)} labels")
        self._inputs = dict(inputs)
        self._hashes: NDArray[np.uint64] | None = None
        self.inputs = Schema.of_arrays(self._inputs)

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The samples at `positions`, copied."""
        return {name: np.take(array, positions, axis=0) for name, array in self._inputs.items()}

    def content_hashes(self) -> NDArray[np.uint64]:
        """A number for the content of each sample `[N]`, alike for those that are alike."""
        if self._hashes is None:  # every split that was set apart asks the whole set
            self._hashes = digests(list(self._inputs.values()), size=8).view(np.uint64)[:, 0]
        return self._hashes


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
        self.labelled: NDArray[np.bool_] = samples.labelled[positions]
        self.inputs, self.targets = samples.inputs, samples.targets

    def __len__(self) -> int:
        return len(self.positions)

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The samples at `positions` of the subset."""
        return self.samples.fetch(self.positions[positions])

    def fetch_targets(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Their targets."""
        return self.samples.fetch_targets(self.positions[positions])

    def content_hashes(self) -> NDArray[np.uint64] | None:
        """Those of the samples that these are some of, where they have any."""
        found = content_hashes(self.samples)
        return None if found is None else found[self.positions]


class JoinedSamples:
    """The samples of two sets as one, the second after the first; in float32 where only one of them stores bytes.

    Args:
        first: Some samples.
        second: Others with the same inputs.
    """

    def __init__(self, first: Samples, second: Samples) -> None:
        assert first.inputs.names == second.inputs.names, "samples of different inputs"
        self.first, self.second = first, second
        self.labelled: NDArray[np.bool_] = np.concatenate([first.labelled, second.labelled])
        self.targets = first.targets
        joined = [
            replace(mine, dtype=np.result_type(mine.dtype, theirs.dtype).name)
            for mine, theirs in zip(first.inputs, second.inputs, strict=True)
        ]
        self.inputs = Schema(tuple(joined))

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The samples at `positions`."""
        later = positions >= len(self.first)
        parts = [
            (rows, samples.fetch(positions[rows] - start))
            for rows, samples, start in ((~later, self.first, 0), (later, self.second, len(self.first)))
            if rows.any()
        ]
        return {
            spec.name: _interleaved(spec, [(rows, part[spec.name]) for rows, part in parts]) for spec in self.inputs
        }

    def fetch_targets(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Their targets; zeros for what the second set does not know."""
        own = positions < len(self.first)
        found = self.first.fetch_targets(np.where(own, positions, 0))
        for array in found.values():
            array[~own] = 0
        if not own.all():
            theirs = self.second.fetch_targets(positions[~own] - len(self.first))
            for name, array in theirs.items():
                if name in found and array.shape[1:] == found[name].shape[1:]:
                    found[name][~own] = array
        return found

    def content_hashes(self) -> NDArray[np.uint64] | None:
        """Those of both, where both have them."""
        first, second = content_hashes(self.first), content_hashes(self.second)
        return None if first is None or second is None else np.concatenate([first, second])


def _interleaved(spec: TensorSpec, parts: Sequence[tuple[NDArray[np.bool_], NDArray[Any]]]) -> NDArray[Any]:
    """Rows of several parts where each belongs; bytes are brought to 0–1 where the others are floats."""
    sizes = [max(each.shape[axis] for _, each in parts) for axis in range(1, parts[0][1].ndim)]
    whole = np.full((len(parts[0][0]), *sizes), spec.padding, np.dtype(spec.dtype))
    for rows, part in parts:
        scaled = part / np.float32(255) if part.dtype == np.uint8 and whole.dtype == np.float32 else part
        places: tuple[Any, ...] = (np.flatnonzero(rows), *(slice(0, size) for size in part.shape[1:]))
        whole[places] = scaled
    return whole


_STORED = tuple(np.dtype(name) for name in ("uint8", "float32", "int64", "bool"))


def class_numbers(samples: Samples) -> NDArray[np.int64]:
    """The class number of each sample `[N]`, −1 for one that has none.

    Raises:
        DataError: No target is one class.
    """
    if LABEL not in samples.targets or samples.targets[LABEL].shape:
        raise DataError(f"targets are {samples.targets}, not one class for each sample")
    return np.where(samples.labelled, all_targets(samples)[LABEL], -1).astype(np.int64)


def is_one_class(targets: Schema) -> bool:
    """Whether a sample is of one class, whatever else is known of it, rather than of a set of them or told in numbers.

    Where there are sets or numbers, the names of a data set are theirs, and a class number beside them has none.
    """
    named_by_others = MEMBERS in targets or VALUES in targets
    return LABEL in targets and not targets[LABEL].shape and not named_by_others


def class_groups(samples: Samples) -> NDArray[np.int64]:
    """A number `[N]` that samples with equal targets share (their own where targets are no classes), −1 for one without."""
    if MEMBERS in samples.targets:
        return np.where(samples.labelled, label_sets.encode(all_targets(samples)[MEMBERS]), -1)
    if is_one_class(samples.targets):
        return class_numbers(samples)
    return np.where(samples.labelled, np.arange(len(samples)), -1)


def all_targets(samples: Samples) -> dict[str, NDArray[Any]]:
    """The targets of every sample, in order."""
    return samples.fetch_targets(np.arange(len(samples), dtype=np.int64))


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
        classes: Names of the classes, or of the numbers where targets are numbers.
        train: Training samples.
        val: Validation samples, if the set has its own.
        test: Test samples, if the set has its own.
        fingerprint: SHA-256 (hex) of the content, independent of where the files lie.
        decisions: What the format chose by itself, and why.
        unreadable: Names of the samples that could not be read and were left out.
        looked_at: How many samples were looked at to find those; None for all.
        files: What travels with whatever is made from these samples, by the name it has there (a tokenizer).
        vocabulary: How many tokens there are, of texts.
    """

    classes: tuple[str, ...]
    train: Samples
    val: Samples | None
    test: Samples | None
    fingerprint: str
    decisions: tuple[Decision, ...] = ()
    unreadable: tuple[str, ...] = ()
    looked_at: int | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    vocabulary: int | None = None


@dataclass(frozen=True)
class Dataset:
    """A data set with its splits settled.

    Attributes:
        source: As the user named it (`images:flowers`).
        classes: Names of the classes, or of the numbers where targets are numbers.
        train: Training samples.
        val: Validation samples; None when none are wanted.
        test: Test samples.
        fingerprint: SHA-256 (hex) of the content and of how it was split.
        decisions: What was chosen automatically, and why.
        test_fingerprint: SHA-256 (hex) of the content and of which samples are for testing, whatever the others are for.
        files: What travels with whatever is made from it, by the name it has there (a tokenizer).
        vocabulary: How many tokens there are, of texts.
    """

    source: str
    classes: tuple[str, ...]
    train: Samples
    val: Samples | None
    test: Samples
    fingerprint: str
    decisions: tuple[Decision, ...]
    test_fingerprint: str = ""
    files: Mapping[str, Path] = field(default_factory=dict)
    vocabulary: int | None = None

    @property
    def inputs(self) -> Schema:
        """What a sample is made of; the same in every split."""
        return self.train.inputs

    @property
    def targets(self) -> Schema:
        """What is known of a sample that has targets."""
        return self.train.targets

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """Shape of the one input, where all samples have it; empty where there are several, or an axis varies."""
        only = self.inputs.only
        return () if only is None or only.varying else only.at({})

    @property
    def of_numbers(self) -> bool:
        """Whether targets are numbers in a unit of their own."""
        return VALUES in self.targets

    def put_files(self, folder: Path) -> None:
        """Copy what travels along into a folder.

        Raises:
            DataError: A file of it is gone.
        """
        for name, file in self.files.items():
            try:
                shutil.copyfile(file, folder / name)
            except FileNotFoundError as fault:
                raise DataError(f"{name} is gone", where=str(file), hint="put it back, or name another") from fault

    def example(self, count: int) -> dict[str, NDArray[Any]]:
        """The first samples of the training set, as they are stored: what is tried on them is tried on real inputs."""
        return self.train.fetch(np.arange(min(count, len(self.train)), dtype=np.int64))

    @property
    def target_statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation `[K]` of the training targets; of the validation targets where those are hidden.

        Raises:
            DataError: Neither is known.
        """
        assert VALUES in self.targets, "the targets are no numbers"
        for samples in (self.train, self.val):
            known = np.zeros(0, np.int64) if samples is None else np.flatnonzero(samples.labelled)
            if samples is not None and len(known):
                seen_MK = samples.fetch_targets(known)[VALUES].astype(np.float64)
                return seen_MK.mean(axis=0), seen_MK.std(axis=0)
        hint = "give some training samples a target, or a validation set"
        raise DataError("no sample for training or validation has a target", where=self.source, hint=hint)

    def describe(self) -> dict[str, Any]:
        """What a manifest keeps under `data`; a split that is absent has size 0; `unlabelled` counts among `train`."""
        unlabelled = int((~self.train.labelled).sum())
        only = self.inputs.only
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
            **({} if only is None or only.varying else {"sample_shape": list(only.shape)}),
            "inputs": self.inputs.as_json(),
            "targets": self.targets.as_json(),
        }

"""The same samples under other labels: some classes of a data set alone, or some of them with a dustbin for the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.data.samples import (
    Dataset,
    InTable,
    Samples,
    SubsetSamples,
    TargetTable,
    class_numbers,
    content_hashes,
)
from compressor.errors import DataError


class RelabelledSamples(InTable):
    """Samples of another set, with targets of our own.

    Args:
        samples: Where to read.
        table: Their targets; or class numbers `[N]`, −1 for a sample that has none.
    """

    def __init__(self, samples: Samples, table: TargetTable | NDArray[np.int64]) -> None:
        self.table = table if isinstance(table, TargetTable) else TargetTable.of_labels(table)
        assert len(samples) == len(self.table), "one target for each sample"
        self.samples = samples
        self.inputs = samples.inputs

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The samples at `positions`."""
        return self.samples.fetch(positions)


class WithoutTargets:
    """Samples of another set, with every target hidden."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.inputs, self.targets = samples.inputs, samples.targets
        self.labelled: NDArray[np.bool_] = np.zeros(len(samples), np.bool_)

    def __len__(self) -> int:
        return len(self.samples)

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The samples at `positions`."""
        return self.samples.fetch(positions)

    def content_hashes(self) -> NDArray[np.uint64] | None:
        """Those of the samples, where they have any."""
        return content_hashes(self.samples)

    def fetch_targets(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Zeros in the shape of the targets."""
        found = self.samples.fetch_targets(positions)
        return {name: np.zeros_like(array) for name, array in found.items()}


def of_classes(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Only the samples of these classes; a label is a position in `names`.

    Raises:
        DataError: The data has no class of that name, or no sample of it.
    """
    strange = [name for name in names if name not in dataset.classes]
    if strange:
        raise DataError(f"the data has no class '{strange[0]}'", where=dataset.source, hint=", ".join(dataset.classes))
    mapping = np.full(len(dataset.classes), -1, dtype=np.int64)
    for position, name in enumerate(names):
        mapping[dataset.classes.index(name)] = position
    splits = {
        name: None if samples is None else _mapped(samples, mapping)
        for name, samples in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test))
    }
    empty = [name for name, samples in splits.items() if samples is not None and not len(samples)]
    if empty:
        raise DataError(f"the {empty[0]} split has no labelled sample of {', '.join(names)}", where=dataset.source)
    train, test = splits["train"], splits["test"]
    assert train is not None
    assert test is not None
    fingerprint = hashlib.sha256(f"{dataset.fingerprint}:{list(names)}".encode()).hexdigest()
    return replace(
        dataset,
        classes=tuple(names),
        train=train,
        val=splits["val"],
        test=test,
        fingerprint=fingerprint,
        test_fingerprint="",  # of another task: it is compared as a whole
    )


DUSTBIN = "(other)"
"""The class of a specialist that stands for all others."""


def with_dustbin(dataset: Dataset, classes: Sequence[int], *, seed: int) -> tuple[Dataset, float]:
    """The samples of some classes, and as many of all others, drawn at random, as one class (Hinton et al. 2015, section 5).

    In every split so, that a metric of the others' share does not say more than the classes. Where a split has fewer of
    the others, all of them stay.

    Args:
        dataset: With all classes.
        classes: By position; a label of the new set is a position in it, the last one is the dustbin.
        seed: Of the draw.

    Returns:
        The new set, and how many times too often the classes stand in its training split.

    Raises:
        DataError: A split has no sample of these classes, or none of the others.
    """
    generator = np.random.default_rng([seed, *classes])
    mapping = np.full(len(dataset.classes), len(classes), dtype=np.int64)
    mapping[list(classes)] = np.arange(len(classes))
    splits: dict[str, Samples | None] = {}
    oversampled = 1.0
    for name, samples in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test)):
        if samples is None:
            splits[name] = None
            continue
        labels = class_numbers(samples)
        labelled = np.flatnonzero(labels >= 0)
        mapped = mapping[labels[labelled]]
        own, others = labelled[mapped < len(classes)], labelled[mapped == len(classes)]
        if not len(own) or not len(others):
            whose = "these classes" if not len(own) else "any other class"
            told = ", ".join(dataset.classes[each] for each in classes)
            raise DataError(f"the {name} split has no sample of {whose} ({told})", where=dataset.source)
        drawn = generator.choice(others, size=min(len(own), len(others)), replace=False)
        if name == "train":
            oversampled = len(others) / len(drawn)
        positions = np.sort(np.concatenate([own, drawn]))
        splits[name] = RelabelledSamples(SubsetSamples(samples, positions), mapping[labels[positions]])
    train, test = splits["train"], splits["test"]
    assert train is not None
    assert test is not None
    named = (*(dataset.classes[each] for each in classes), DUSTBIN)
    fingerprint = hashlib.sha256(f"{dataset.fingerprint}:{list(classes)}:{seed}".encode()).hexdigest()
    made = replace(
        dataset,
        classes=named,
        train=train,
        val=splits["val"],
        test=test,
        fingerprint=fingerprint,
        test_fingerprint="",
    )
    return made, oversampled


def _mapped(samples: Samples, mapping: NDArray[np.int64]) -> Samples:
    labels = class_numbers(samples)
    labelled = np.flatnonzero(labels >= 0)
    mapped = mapping[labels[labelled]]
    positions = labelled[mapped >= 0]
    return RelabelledSamples(SubsetSamples(samples, positions), mapped[mapped >= 0])

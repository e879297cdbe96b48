"""Samples that show a quantizer the range of activations: a seeded choice from the training set, never from the test set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compressor.quantizers._batches import Batch

_BATCH = 32  # samples at a time, where the model takes any number


class Fetched(Protocol):
    """The part of a data set that is needed here."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The inputs at `positions`, each `[B, ...]`."""
        ...


class TrainingSamples:
    """Some samples of a training set, as a model takes them (`_contract.Calibration`).

    Args:
        samples: The training set.
        number: How many to take; all where there are fewer.
        seed: Of the choice.
        prepare: From samples as the data gives them to what the model takes (`OrtCpu.prepare`).
        fixed_batch: The one batch size that the model takes, where it takes only one: what is over is left out, and fewer
            samples than one batch are repeated.
        skip: So many of the seeded order are left to others, who check what these calibrated.
    """

    def __init__(
        self,
        samples: Fetched,
        *,
        number: int,
        seed: int,
        prepare: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]],
        fixed_batch: int | None = None,
        skip: int = 0,
    ) -> None:
        chosen = np.random.default_rng([seed, 0xCA]).permutation(len(samples))[skip : skip + number]
        if fixed_batch is not None and len(chosen):
            chosen = np.resize(chosen, max(1, len(chosen) // fixed_batch) * fixed_batch)
        self.positions: NDArray[np.int64] = np.sort(chosen).astype(np.int64)
        self._samples = samples
        self._prepare = prepare
        self._batch_size = fixed_batch or _BATCH

    def __len__(self) -> int:
        """How many samples."""
        return len(self.positions)

    def batches(self) -> Iterator[Batch]:
        """Batches by input name, the same ones every time."""
        for first in range(0, len(self.positions), self._batch_size):
            chosen = self.positions[first : first + self._batch_size]
            yield self._prepare(self._samples.fetch(chosen))

"""Batches in a seeded order, fetched ahead by one thread; any epoch can start at any batch.

Memory holds the batch in use and at most two ahead, however large the set is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.data.samples import Samples

_AHEAD = 2


@dataclass(frozen=True, eq=False)
class LoadedBatch:
    """Samples as they are stored, before views and scaling.

    Attributes:
        inputs: `[B, C, H, W]` uint8 0–255 or float32 0–1, or `[B, F]` float32.
        labels: `[B]` int64.
        sample_ids: `[B]` int64, position of each sample in the loader's samples.
    """

    inputs: Tensor
    labels: Tensor
    sample_ids: Tensor


class Loader:
    """The batches of any epoch.

    A shuffled order is taken to be for training: its last batch is left out when it would hold a single sample, for
    BatchNorm cannot train on one. There is always at least one batch.

    Args:
        samples: At least one.
        batch_size: Samples in a batch.
        seed: Of the order.
        shuffle: A new order each epoch; otherwise the order of `samples`.
        drop_last: Leave out the last batch when it is not full, unless it is the only one.
    """

    def __init__(self, samples: Samples, *, batch_size: int, seed: int, shuffle: bool, drop_last: bool) -> None:
        assert len(samples) > 0, "a loader needs at least one sample"
        assert batch_size > 0, "a batch needs at least one sample"
        self._samples = samples
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        full, left_over = divmod(len(samples), batch_size)
        keeps_last = left_over > 0 and not drop_last and not (shuffle and left_over == 1)
        self._num_batches = max(1, full + keeps_last)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._num_batches

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Positions `[N]` in the order of an epoch: a pure function of `(seed, epoch)`."""
        if not self._shuffle:
            return np.arange(len(self._samples), dtype=np.int64)
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._samples)).astype(np.int64)

    def batches(self, epoch: int, *, first: int = 0) -> Iterator[LoadedBatch]:
        """The batches of an epoch from number `first` on; those before it are not read.

        What reading a batch raises is raised here when its turn comes. The thread ends with the iterator, also when
        that is closed early.
        """
        order = self.order(epoch)
        starts = iter(range(first * self._batch_size, self._num_batches * self._batch_size, self._batch_size))
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        coming: deque[Future[LoadedBatch]] = deque()

        def fetch_next() -> None:
            start = next(starts, None)
            if start is not None:
                coming.append(pool.submit(self._load, order[start : start + self._batch_size]))

        try:
            for _ in range(_AHEAD):
                fetch_next()
            while coming:
                batch = coming.popleft().result()
                fetch_next()
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _load(self, positions: NDArray[np.int64]) -> LoadedBatch:
        return LoadedBatch(
            inputs=torch.from_numpy(self._samples.fetch(positions)),
            labels=torch.from_numpy(self._samples.labels[positions]),
            sample_ids=torch.from_numpy(positions),
        )


def to_float(inputs: Tensor) -> Tensor:
    """Pixels in 0–1 as float32 from uint8; float32 is returned as it is."""
    return inputs.to(torch.float32) / 255 if inputs.dtype == torch.uint8 else inputs

"""Batches in a seeded order, fetched ahead by one thread; any epoch can start at any batch.

Memory holds the batch in use and at most two ahead, however large the set is. With several processes each reads its own
rows of every batch, so that all of them together see the very batches that one process sees.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.data.samples import Samples
from compressor.tensors import Inputs, call_of

_AHEAD = 2
_GROUPED = 50  # batches whose samples are sorted by length together: far fewer than a set, so that epochs still differ
Partners = Callable[[NDArray[np.int64], int], NDArray[np.int64]]
"""(positions `[B]`, epoch) -> positions `[B]` of the samples that each is mixed with in that epoch."""


@dataclass(frozen=True, eq=False)
class LoadedBatch:
    """Samples as they are stored, before views and scaling.

    Attributes:
        inputs: By name, each `[B, ...]`: pixels as uint8 0–255 or float32 0–1, other numbers as they are.
        targets: By name, each `[B, ...]`.
        labelled: `[B]` bool, which samples have targets.
        sample_ids: `[B]` int64, position of each sample in the loader's samples.
        partners: The sample that each one is mixed with, when views mix samples.
        batch_size: Samples in the whole batch, of which these are the share of one process.
    """

    inputs: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    labelled: Tensor
    sample_ids: Tensor
    partners: LoadedBatch | None = None
    batch_size: int = 0

    def to(self, device: torch.device) -> LoadedBatch:
        """The same batch on a device."""
        return LoadedBatch(
            _moved(self.inputs, device),
            _moved(self.targets, device),
            self.labelled.to(device, non_blocking=True),
            self.sample_ids.to(device, non_blocking=True),
            None if self.partners is None else self.partners.to(device),
            self.batch_size,
        )


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
        partners: Which sample each one is mixed with; None when none are.
        rank: Which of `world_size` processes this one is; it reads every `world_size`-th row of each batch.
        world_size: Processes that share each batch.
        pin: Put batches where a GPU can fetch them by itself.
        lengths: Of each sample `[N]`; a shuffled order then puts samples of like length into the same batch, so that
            little is padding.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        drop_last: bool,
        partners: Partners | None = None,
        rank: int = 0,
        world_size: int = 1,
        pin: bool = False,
        lengths: NDArray[np.int64] | None = None,
    ) -> None:
        assert len(samples) > 0, "a loader needs at least one sample"
        assert batch_size > 0, "a batch needs at least one sample"
        self._samples = samples
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._partners = partners
        self._rows = slice(rank, None, world_size)
        self._pin = pin
        self._lengths = lengths
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
        random = np.random.default_rng([self._seed, epoch])
        order = random.permutation(len(self._samples)).astype(np.int64)
        return order if self._lengths is None else self._grouped(order, self._lengths, random)

    def _grouped(
        self, order: NDArray[np.int64], lengths_N: NDArray[np.int64], random: np.random.Generator
    ) -> NDArray[np.int64]:
        """The order with samples of like length side by side: sorted within every 50 batches, and the batches shuffled.

        What does not fill a batch stays at the end.
        """
        whole = len(order) // self._batch_size * self._batch_size
        stretch = _GROUPED * self._batch_size
        found = [order[:0]]
        for start in range(0, whole, stretch):
            some = order[start : min(start + stretch, whole)]
            found.append(some[np.argsort(lengths_N[some], kind="stable")])
        batches = np.concatenate(found).reshape(-1, self._batch_size)
        return np.concatenate([batches[random.permutation(len(batches))].ravel(), order[whole:]])

    def batches(self, epoch: int, *, first: int = 0) -> Generator[LoadedBatch, None, None]:
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
                coming.append(pool.submit(self._load, order[start : start + self._batch_size], epoch))

        try:
            for _ in range(_AHEAD):
                fetch_next()
            while coming:
                batch = coming.popleft().result()
                fetch_next()
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _load(self, whole: NDArray[np.int64], epoch: int) -> LoadedBatch:
        positions = np.ascontiguousarray(whole[self._rows])
        partners = None if self._partners is None else self._fetch(self._partners(positions, epoch))
        own = self._fetch(positions)
        return replace(own, partners=partners, batch_size=len(whole))

    def _fetch(self, positions: NDArray[np.int64]) -> LoadedBatch:
        inputs = in_torch(self._samples.fetch(positions))
        return LoadedBatch(
            inputs={name: tensor.pin_memory() for name, tensor in inputs.items()} if self._pin else inputs,
            targets=in_torch(self._samples.fetch_targets(positions)),
            labelled=torch.from_numpy(self._samples.labelled[positions]),
            sample_ids=torch.from_numpy(positions),
            batch_size=len(positions),
        )


def in_torch(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """The same arrays as tensors that share their memory."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def to_float(inputs: Tensor) -> Tensor:
    """Pixels in 0–1 as float32 from uint8; what is no uint8 is returned as it is."""
    return inputs.to(torch.float32) / 255 if inputs.dtype == torch.uint8 else inputs


def as_seen(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stored inputs as a network sees them: pixels in 0–1."""
    return {name: to_float(tensor) for name, tensor in inputs.items()}


def tried(arrays: Mapping[str, NDArray[Any]]) -> Inputs:
    """Stored samples as a network is called with them; what trials and examples are made of."""
    return call_of(as_seen(in_torch(arrays)))


def _moved(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}

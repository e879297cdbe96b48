"""Batches: order, resuming, reading ahead."""

import threading

import numpy as np
import pytest
import torch

from compressor.data.loader import Loader, to_float
from compressor.errors import DataError
from tests.named import class_samples


def _samples(number):
    pixels = (np.arange(number, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2), np.uint8)).astype(np.uint8)
    return class_samples(pixels, np.arange(number) % 3)


def _loader(samples, *, batch_size=4, seed=0, shuffle=True, drop_last=False):
    return Loader(samples, batch_size=batch_size, seed=seed, shuffle=shuffle, drop_last=drop_last)


def _ids(loader, epoch, *, first=0):
    return [batch.sample_ids.tolist() for batch in loader.batches(epoch, first=first)]


class _Recording:
    """Samples that note what was read, and may fail at one."""

    def __init__(self, number, *, broken=-1):
        self._inner = _samples(number)
        self.inputs, self.targets, self.labelled = self._inner.inputs, self._inner.targets, self._inner.labelled
        self.fetch_targets = self._inner.fetch_targets
        self.read: list[list[int]] = []
        self._broken = broken

    def __len__(self):
        return len(self._inner)

    def fetch(self, positions):
        self.read.append(positions.tolist())
        if self._broken in positions:
            raise DataError(f"sample {self._broken} is gone")
        return self._inner.fetch(positions)


def test_an_epoch_shows_every_sample_once_with_its_own_label():
    batches = list(_loader(_samples(11)).batches(0))

    ids = torch.cat([batch.sample_ids for batch in batches])
    assert sorted(ids.tolist()) == list(range(11))
    assert torch.equal(torch.cat([batch.targets["label"] for batch in batches]), ids % 3)
    assert torch.equal(torch.cat([batch.inputs["image"] for batch in batches])[:, 0, 0, 0].long(), ids)
    assert batches[0].inputs["image"].dtype == torch.uint8


def test_the_order_is_a_function_of_seed_and_epoch():
    loader = _loader(_samples(50))

    assert _ids(loader, 3) == _ids(_loader(_samples(50)), 3)
    assert _ids(loader, 3) != _ids(loader, 4)
    assert _ids(loader, 3) != _ids(_loader(_samples(50), seed=1), 3)


def test_without_shuffling_the_order_is_that_of_the_samples():
    assert _ids(_loader(_samples(6), shuffle=False), 7) == [[0, 1, 2, 3], [4, 5]]


@pytest.mark.parametrize("first", range(4))
def test_an_epoch_resumed_at_a_batch_is_the_tail_of_the_whole(first):
    loader = _loader(_samples(11))

    assert _ids(loader, 2, first=first) == _ids(loader, 2)[first:]


def test_batches_before_the_first_are_not_read():
    samples = _Recording(40)
    loader = _loader(samples)

    resumed = _ids(loader, 0, first=7)

    assert samples.read == resumed


@pytest.mark.parametrize(
    ("number", "shuffle", "drop_last", "sizes"),
    [
        (8, True, False, [4, 4]),
        (10, True, False, [4, 4, 2]),
        (10, True, True, [4, 4]),
        (9, True, False, [4, 4]),  # a last batch of one is left out of training
        (9, False, False, [4, 4, 1]),
        (3, True, True, [3]),
        (1, True, False, [1]),
    ],
)
def test_the_number_and_size_of_batches(number, shuffle, drop_last, sizes):
    loader = _loader(_samples(number), shuffle=shuffle, drop_last=drop_last)

    assert [len(ids) for ids in _ids(loader, 0)] == sizes
    assert len(loader) == len(sizes)


def test_at_most_two_batches_are_read_ahead():
    samples = _Recording(40)
    batches = _loader(samples).batches(0)

    next(batches)
    batches.close()

    assert 1 <= len(samples.read) <= 3


def test_the_thread_ends_when_the_consumer_stops_early():
    batches = _loader(_samples(40)).batches(0)
    next(batches)
    assert any(thread.name.startswith("loader") for thread in threading.enumerate())

    batches.close()

    assert not any(thread.name.startswith("loader") for thread in threading.enumerate())


def test_what_reading_raises_comes_when_its_batch_is_due():
    batches = _loader(_Recording(12, broken=9), shuffle=False).batches(0)

    assert [next(batches).sample_ids[0].item() for _ in range(2)] == [0, 4]
    with pytest.raises(DataError, match="sample 9 is gone"):
        next(batches)
    assert not any(thread.name.startswith("loader") for thread in threading.enumerate())


def test_pixels_become_float_from_zero_to_one_and_floats_stay():
    assert to_float(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx([0.0, 0.2, 1.0])
    features = torch.tensor([7.5])
    assert to_float(features) is features


def test_samples_of_like_length_share_a_batch_and_every_epoch_is_another():
    random = np.random.default_rng(0)
    lengths = random.integers(1, 200, 410)
    loader = Loader(_samples(410), batch_size=4, seed=0, shuffle=True, drop_last=False, lengths=lengths)

    def padding(order):
        batches = [lengths[order[start : start + 4]] for start in range(0, 408, 4)]
        return sum(int((each.max() - each).sum()) for each in batches)

    epochs = [loader.order(epoch) for epoch in (0, 1)]
    assert all(sorted(order.tolist()) == list(range(410)) for order in epochs)
    assert not np.array_equal(*epochs)
    assert padding(epochs[0]) < 0.1 * padding(_loader(_samples(410)).order(0))
    assert np.corrcoef(np.arange(408), lengths[epochs[0][:408]])[0, 1] < 0.3, "batches come in no order of length"


def test_an_epoch_of_grouped_samples_resumed_at_a_batch_is_the_tail_of_the_whole():
    lengths = np.arange(30)[::-1].copy()
    loader = Loader(_samples(30), batch_size=4, seed=0, shuffle=True, drop_last=False, lengths=lengths)

    assert _ids(loader, 2, first=3) == _ids(loader, 2)[3:]

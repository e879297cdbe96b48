"""Some classes of a data set with a dustbin for the others: half and half, seeded, and nothing lost."""

from __future__ import annotations

import numpy as np
import pytest

from compressor.data.relabel import DUSTBIN, with_dustbin
from compressor.data.samples import ArraySamples, Dataset
from compressor.errors import DataError
from tests.named import class_samples, inputs_of, labels_of


def samples(labels: np.ndarray) -> ArraySamples:
    """Samples that show their own number."""
    inputs = np.arange(len(labels), dtype=np.float32)[:, None]
    return class_samples(inputs, labels)


def dataset(train: np.ndarray | None = None) -> Dataset:
    labels = np.arange(600) % 10 if train is None else train
    classes = tuple("abcdefghij")
    return Dataset("made", classes, samples(labels), samples(np.arange(100) % 10), samples(np.arange(50) % 10), "f", ())


def test_half_of_the_samples_are_of_the_classes_and_half_of_all_others() -> None:
    whole = dataset()

    own, oversampled = with_dustbin(whole, (7, 2), seed=0)

    assert own.classes == ("h", "c", DUSTBIN)
    assert np.bincount(labels_of(own.train)).tolist() == [60, 60, 120]
    assert oversampled == pytest.approx(480 / 120)
    assert own.val is not None
    assert np.bincount(labels_of(own.val)).tolist() == [10, 10, 20]
    shown = inputs_of(own.train, np.arange(len(own.train)))[:, 0].astype(int)
    expected = np.array([{7: 0, 2: 1}.get(each, 2) for each in shown % 10])
    assert (labels_of(own.train) == expected).all()
    assert len(set((shown % 10)[labels_of(own.train) == 2].tolist())) == 8


def test_the_draw_follows_from_the_seed() -> None:
    def drawn(seed: int) -> list[int]:
        own, _ = with_dustbin(dataset(), (7, 2), seed=seed)
        return inputs_of(own.train, np.arange(len(own.train)))[:, 0].astype(int).tolist()

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert (
        with_dustbin(dataset(), (7, 2), seed=1)[0].fingerprint != with_dustbin(dataset(), (7, 2), seed=2)[0].fingerprint
    )


def test_where_the_others_are_fewer_all_of_them_stay() -> None:
    own, oversampled = with_dustbin(dataset(np.array([0] * 90 + [1] * 10)), (0,), seed=0)

    assert np.bincount(labels_of(own.train)).tolist() == [90, 10]
    assert oversampled == 1.0


def test_samples_without_a_label_are_left_out() -> None:
    own, _ = with_dustbin(dataset(np.array([-1, 0, 1, 2, -1, 3])), (0, 1), seed=0)

    assert len(own.train) == 4
    assert labels_of(own.train).min() == 0


def test_a_class_without_a_sample_is_refused() -> None:
    with pytest.raises(DataError, match=r"the train split has no sample of these classes \(h, i\)"):
        with_dustbin(dataset(np.array([0, 1, 2])), (7, 8), seed=0)

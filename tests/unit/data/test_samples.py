"""Samples, subsets and what a data set says of itself."""

import numpy as np
import pytest

from compressor.data import samples as module
from compressor.data.digests import digests
from compressor.data.samples import (
    ArraySamples,
    Dataset,
    SubsetSamples,
    TargetTable,
    class_groups,
    class_numbers,
    is_one_class,
)
from compressor.errors import DataError
from compressor.inputs._contract import only_kind
from tests.named import class_samples, inputs_of, labels_of


def _samples(number: int = 6) -> ArraySamples:
    pixels = np.arange(number * 12, dtype=np.uint8).reshape(number, 3, 2, 2)
    return class_samples(pixels, np.arange(number, dtype=np.uint8) % 2)


def test_samples_come_in_the_order_of_the_positions_asked_for():
    fetched = inputs_of(_samples(), np.array([4, 0, 4]))

    assert fetched.shape == (3, 3, 2, 2)
    assert fetched[:, 0, 0, 0].tolist() == [48, 0, 48]


def test_fetched_samples_can_be_changed_without_changing_the_set():
    samples = _samples()

    inputs_of(samples, np.array([0]))[:] = 255

    assert inputs_of(samples, np.array([0])).max() == 11


def test_labels_of_any_integer_type_become_int64():
    assert labels_of(_samples()).dtype == np.int64


def test_a_subset_of_a_subset_reads_from_the_first():
    base = _samples()

    inner = SubsetSamples(SubsetSamples(base, np.array([5, 3, 1])), np.array([2, 0]))

    assert inner.samples is base
    assert inner.positions.tolist() == [1, 5]
    assert len(inner) == 2
    assert labels_of(inner).tolist() == [1, 1]
    assert np.array_equal(inputs_of(inner, np.array([1])), inputs_of(base, np.array([5])))


def test_a_set_is_hashed_once_for_all_of_its_splits(monkeypatch):
    base, hashed = _samples(), []
    monkeypatch.setattr(module, "digests", lambda arrays, *, size: hashed.append(size) or digests(arrays, size=size))

    first, second = (SubsetSamples(base, np.array(each)).content_hashes() for each in ([0, 2], [2, 1]))

    assert len(hashed) == 1
    assert first[1] == second[0]
    assert first[0] != second[1]


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (np.zeros((2, 3)), np.zeros(2, int), "'features' is float64"),
        (np.zeros((2, 3), np.float32), np.zeros(2), "labels are float64"),
        (np.zeros((2, 3), np.float32), np.zeros(3, int), "2 samples but 3 labels"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_the_value(inputs, labels, message):
    with pytest.raises(DataError, match=message):
        class_samples(inputs, labels)


def test_a_data_set_describes_itself_for_the_manifest():
    dataset = Dataset("npz:a.npz", ("a", "b"), _samples(6), None, _samples(4), "f00d", (), test_fingerprint="7e57")

    assert only_kind(dataset.inputs).layout == "CHW"
    assert dataset.describe() == {
        "source": "npz:a.npz",
        "fingerprint": "f00d",
        "test_fingerprint": "7e57",
        "classes": ["a", "b"],
        "sizes": {"train": 6, "val": 0, "test": 4},
        "sample_shape": [3, 2, 2],
        "inputs": [{"name": "image", "dtype": "uint8", "shape": [3, 2, 2]}],
        "targets": [{"name": "label", "dtype": "int64", "shape": []}],
    }


def test_samples_of_one_class_may_have_other_targets_beside_it():
    boxes = np.zeros((4, 2), np.float32)
    table = TargetTable({"label": np.array([1, 0, 1, 0]), "box": boxes}, labelled=np.array([True, True, True, False]))
    samples = ArraySamples({"features": np.zeros((4, 3), np.float32)}, table)

    assert class_groups(samples).tolist() == class_numbers(samples).tolist() == [1, 0, 1, -1]
    assert is_one_class(samples.targets)


def test_a_class_number_beside_targets_that_are_numbers_is_no_class_of_the_set():
    table = TargetTable({"label": np.array([5, 7]), "values": np.zeros((2, 1), np.float32)})
    samples = ArraySamples({"features": np.zeros((2, 3), np.float32)}, table)

    assert not is_one_class(samples.targets)
    assert class_groups(samples).tolist() == [0, 1]


def test_targets_without_one_class_have_no_class_numbers():
    samples = ArraySamples({"features": np.zeros((2, 3), np.float32)}, TargetTable({"box": np.zeros((2, 4))}))

    with pytest.raises(DataError, match="not one class for each sample"):
        class_numbers(samples)

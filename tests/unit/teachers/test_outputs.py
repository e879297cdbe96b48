"""Stored predictions as a teacher: which row belongs to which sample, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compressor.data.keys import content_keys
from compressor.data.samples import ArraySamples, SubsetSamples
from compressor.errors import DataError
from compressor.tasks.classification import Classification
from compressor.teachers.outputs import StoredOutputs
from compressor.tensors import Batch, Mixed, Outputs
from tests.named import class_samples, inputs_of, labels_of, mixed_with, named_batch

CLASSES = ("cat", "dog", "owl")
N = 12
LOGITS = np.random.default_rng(0).normal(0, 3, (N, 3)).astype(np.float32)


def samples(*, labels: Any = None) -> ArraySamples:
    pixels = np.random.default_rng(1).integers(0, 256, (N, 1, 2, 2), dtype=np.uint8)
    return class_samples(pixels, np.arange(N) % 3 if labels is None else labels)


def file_of(folder: Path, **arrays: Any) -> Path:
    file = folder / "answers.npz"
    np.savez(file, **arrays)
    return file


def batch_of(data: Any, ids: list[int], *, mixed: Mixed | None = None) -> Batch:
    positions = np.array(ids)
    inputs = torch.from_numpy(inputs_of(data, positions)).float() / 255
    labels = torch.from_numpy(labels_of(data)[positions])
    return named_batch(inputs, labels, torch.tensor(ids), 0, Classification(), mixed)


def student_of(count: int) -> Outputs:
    return Outputs.of(torch.zeros(count, 3, requires_grad=True))


def test_rows_are_found_by_content_in_another_split_and_order(tmp_path):
    whole = samples()
    order = np.random.default_rng(5).permutation(N)
    file = file_of(tmp_path, logits=LOGITS[order], keys=content_keys(SubsetSamples(whole, order)))
    train = SubsetSamples(whole, np.array([9, 2, 4]))

    answer = StoredOutputs(file, train, CLASSES).answer(batch_of(train, [2, 0]))

    assert torch.equal(answer.logits, torch.from_numpy(LOGITS[[4, 9]]))


def test_rows_without_keys_are_in_the_order_of_the_source(tmp_path):
    train = SubsetSamples(samples(), np.array([9, 2, 4]))

    answer = StoredOutputs(file_of(tmp_path, logits=LOGITS), train, CLASSES).answer(batch_of(train, [0, 1, 2]))

    assert torch.equal(answer.logits, torch.from_numpy(LOGITS[[9, 2, 4]]))


def test_probabilities_become_logits_that_mean_the_same(tmp_path):
    data, wanted = samples(), torch.from_numpy(LOGITS).softmax(1)
    teacher = StoredOutputs(file_of(tmp_path, probabilities=wanted.numpy()), data, CLASSES)

    found = teacher.answer(batch_of(data, list(range(N)))).logits.softmax(1)

    assert torch.allclose(found, wanted, atol=1e-6)


def test_columns_are_put_into_the_order_of_the_data_by_name(tmp_path):
    data = samples()
    file = file_of(tmp_path, logits=LOGITS, classes=np.array(["owl", "cat", "dog"]))

    answer = StoredOutputs(file, data, CLASSES).answer(batch_of(data, [3]))

    assert torch.equal(answer.logits[0], torch.from_numpy(LOGITS[3, [1, 2, 0]]))


def test_samples_without_a_row_learn_from_their_labels_alone_in_their_share(tmp_path):
    data = samples()
    kept = SubsetSamples(data, np.arange(8))
    teacher = StoredOutputs(file_of(tmp_path, logits=LOGITS[:8], keys=content_keys(kept)), data, CLASSES)
    batch = batch_of(data, [0, 9, 1, 2])

    told, untold = teacher.lessons(batch, student_of(4))

    assert told.teacher is not None
    assert torch.equal(told.teacher.logits, torch.from_numpy(LOGITS[:3]))
    assert (told.batch.sample_ids.tolist(), told.weight) == ([0, 1, 2], 0.75)
    assert untold.teacher is None
    assert (untold.batch.sample_ids.tolist(), untold.weight) == ([9], 0.25)


def test_a_sample_with_neither_row_nor_label_is_refused(tmp_path):
    labels = np.where(np.arange(N) < 10, 0, -1)
    data = samples(labels=labels)
    kept = SubsetSamples(data, np.arange(11))

    with pytest.raises(DataError, match="1 of 12 training samples have neither"):
        StoredOutputs(file_of(tmp_path, logits=LOGITS[:11], keys=content_keys(kept)), data, CLASSES)


def test_where_samples_are_mixed_so_are_their_predictions(tmp_path):
    data = samples()
    teacher = StoredOutputs(file_of(tmp_path, logits=LOGITS), data, CLASSES)
    mixed = mixed_with(torch.tensor([0, 1]), torch.tensor([0.25, 1.0]), torch.tensor([7, 8]))

    found = teacher.answer(batch_of(data, [3, 4], mixed=mixed)).logits.softmax(1)

    p = torch.from_numpy(LOGITS).softmax(1)
    assert torch.allclose(found, torch.stack([0.25 * p[3] + 0.75 * p[7], p[4]]), atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "neither logits nor probabilities"),
        ({"logits": LOGITS, "probabilities": LOGITS}, "both logits and probabilities"),
        ({"logits": LOGITS[0]}, r"logits is float32 of shape \[3\]"),
        ({"logits": LOGITS * np.nan}, "NaN or infinity"),
        ({"probabilities": np.abs(LOGITS)}, "do not add up to 1"),
        ({"logits": LOGITS[:5]}, "5 rows without keys, the source of the data has 12 training samples"),
        ({"logits": LOGITS, "keys": np.zeros((N, 8), np.uint8)}, r"keys is uint8 of shape \[12, 8\]"),
        ({"logits": LOGITS, "keys": np.zeros((N, 16), np.uint8)}, "no prediction for any of 12 samples"),
        ({"logits": LOGITS[:, :2]}, "2 outputs, the data has 3 classes"),
        ({"logits": LOGITS, "classes": np.array(["cat", "dog", "emu"])}, "it knows no class 'owl'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_sentence(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        StoredOutputs(file_of(tmp_path, **arrays), samples(), CLASSES)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    file = tmp_path / "answers.npz"
    file.write_bytes(b"no archive")

    with pytest.raises(DataError, match="cannot be read as a NumPy archive"):
        StoredOutputs(file, samples(), CLASSES)


def test_what_it_says_of_another_split_is_on_record_where_it_has_every_row_of_it(tmp_path):
    whole = samples()
    train, test = SubsetSamples(whole, np.arange(6)), SubsetSamples(whole, np.array([8, 7]))
    keyed = StoredOutputs(file_of(tmp_path, logits=LOGITS[:9], keys=content_keys(whole)[:9]), train, CLASSES)

    assert np.array_equal(keyed.on_record(test), LOGITS[[8, 7]])
    assert keyed.on_record(SubsetSamples(whole, np.array([8, 11]))) is None, "it has no row for the last"
    assert StoredOutputs(file_of(tmp_path, logits=LOGITS), train, CLASSES).on_record(test) is None

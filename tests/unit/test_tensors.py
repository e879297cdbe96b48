"""Named tensors: schemas, and what a batch costs against its targets when some of its samples have none."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from compressor.errors import DataError
from compressor.tasks.classification import Classification
from compressor.tensors import LABEL, Batch, Mixed, Outputs, Schema, TensorSpec, appended
from tests.named import mixed_with, named_batch

LOGITS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


def batch(labels: list[int], mixed: Mixed | None = None, *, smoothing: float = 0.0) -> Batch:
    return named_batch(
        torch.zeros(4, 1), torch.tensor(labels), torch.arange(4), 0, Classification(label_smoothing=smoothing), mixed
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_over_samples_that_have_a_label(smoothing: float) -> None:
    expected = F.cross_entropy(LOGITS[[0, 2]], torch.tensor([1, 2]), label_smoothing=smoothing)

    found = batch([1, -1, 2, -1], smoothing=smoothing).hard_loss(Outputs.of(LOGITS))

    assert torch.allclose(found, expected)


def test_with_every_label_it_is_the_loss_of_the_task_to_the_last_bit() -> None:
    labels = [1, 0, 2, 2]

    assert torch.equal(batch(labels).hard_loss(Outputs.of(LOGITS)), F.cross_entropy(LOGITS, torch.tensor(labels)))


@pytest.mark.parametrize("mixed", [None, mixed_with(torch.full((4,), -1), torch.rand(4))])
def test_without_any_label_it_is_zero_and_so_is_its_gradient(mixed: Mixed | None) -> None:
    logits = LOGITS.clone().requires_grad_(True)

    loss = batch([-1] * 4, mixed).hard_loss(Outputs.of(logits))
    loss.backward()

    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_unlabelled_samples_get_no_gradient() -> None:
    logits = LOGITS.clone().requires_grad_(True)

    batch([1, -1, 2, -1]).hard_loss(Outputs.of(logits)).backward()

    assert logits.grad is not None
    assert [bool(row.any()) for row in logits.grad] == [True, False, True, False]


def test_where_samples_are_mixed_each_label_counts_by_its_share() -> None:
    share = torch.tensor([0.25, 0.5, 0.75, 1.0])
    mixed = mixed_with(torch.tensor([2, 0, -1, -1]), share)
    each = [(0, 1, 0.25), (0, 2, 0.75), (1, 0, 0.5), (2, 2, 0.75)]  # row, label, weight
    losses = sum(weight * F.cross_entropy(LOGITS[row : row + 1], torch.tensor([label])) for row, label, weight in each)

    found = batch([1, -1, 2, -1], mixed).hard_loss(Outputs.of(LOGITS))

    assert torch.allclose(found, losses / sum(weight for *_, weight in each))


def test_rows_are_taken_with_all_that_belongs_to_them() -> None:
    mixed = mixed_with(torch.tensor([2, 0, 1, 1]), torch.rand(4), torch.tensor([7, 8, 9, 6]))

    part = batch([1, -1, 2, -1], mixed).rows(torch.tensor([2, 0]))

    assert (part.targets[LABEL].tolist(), part.labelled.tolist()) == ([2, 1], [True, True])
    assert part.sample_ids.tolist() == [2, 0]
    assert part.mixed is not None
    assert part.mixed.sample_ids is not None
    assert (part.mixed.targets[LABEL].tolist(), part.mixed.sample_ids.tolist()) == ([1, 2], [9, 7])


def test_joined_batches_come_apart_again_partners_too() -> None:
    def made(first: int) -> Batch:
        ids = torch.arange(first, first + 3)
        mixed = mixed_with(ids % 2, torch.full((3,), 0.25 + first / 10), ids + 5)
        return named_batch(torch.rand(3, 1), ids % 3, ids, 4, Classification(), mixed)

    old, new = made(0), made(3)
    both = old.joined(new)

    assert both.mixed is not None
    assert both.mixed.sample_ids is not None
    assert both.mixed.sample_ids.tolist() == [5, 6, 7, 8, 9, 10]
    for part, whole in ((both.rows(slice(0, 3)), old), (both.rows(slice(3, 6)), new)):
        assert torch.equal(part.call, whole.call)
        assert torch.equal(part.targets[LABEL], whole.targets[LABEL])
        assert part.mixed is not None
        assert whole.mixed is not None
        assert torch.equal(part.mixed.share, whole.mixed.share)


TOKENS = Schema.of(TensorSpec("ids", "int64", ("tokens",)), TensorSpec("mask", "int64", ("tokens",)))


def test_a_schema_takes_what_it_names_in_any_size_of_an_axis_that_varies() -> None:
    for length in (1, 7):
        TOKENS.check({"ids": np.zeros((2, length)), "mask": np.zeros((2, length))}, what="the samples")

    assert TOKENS.varying == ("tokens",)
    assert TOKENS["ids"].at({"tokens": 5}) == (5,)
    assert TOKENS.only is None


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"ids": np.zeros((2, 7))}, "the samples lack 'mask'; they hold ids"),
        ({"ids": np.zeros((2, 7)), "mask": np.zeros((2, 6))}, r"'mask' of the samples has the shape \[6\]"),
        ({"ids": np.zeros((2, 7, 1)), "mask": np.zeros((2, 7))}, r"'ids' of the samples has the shape \[7, 1\]"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(tensors: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        TOKENS.check(tensors, what="the samples")


def test_a_schema_is_read_from_what_a_manifest_keeps_of_it() -> None:
    assert Schema.from_json(json.loads(json.dumps(TOKENS.as_json()))) == TOKENS


def test_batches_of_two_lengths_are_joined_at_the_longer_one() -> None:
    short, long = ({"ids": torch.ones(2, length)} for length in (3, 5))

    joined = appended(short, long)["ids"]

    assert joined.shape == (4, 5)
    assert joined[:2, 3:].sum() == 0

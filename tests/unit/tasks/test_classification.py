"""Classification: metrics against hand-made cases, and its edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from compressor.errors import DataError, InputError, ModelError
from compressor.tasks.classification import Classification
from tests.named import Judging, hard_loss, named_batch

LOGITS = np.array([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 2.0], [5.0, 0.0, 0.0]], dtype=np.float32)
LABELS = np.array([0, 1, 0, 0])


def test_accuracy_is_the_share_of_right_decisions() -> None:
    assert Judging(Classification()).metrics(LOGITS, LABELS)["accuracy"] == 0.75


def test_loss_equals_cross_entropy_of_torch() -> None:
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(LOGITS), torch.from_numpy(LABELS)).item()

    assert Judging(Classification()).metrics(LOGITS, LABELS)["loss"] == pytest.approx(expected, rel=1e-6)


def test_loss_is_finite_for_huge_logits() -> None:
    found = Judging(Classification()).metrics(LOGITS * np.float32(1e30), LABELS)

    assert math.isfinite(found["loss"])
    assert found["ece"] == pytest.approx(0.25)


def test_loss_of_equal_logits_is_the_log_of_the_number_of_classes() -> None:
    found = Judging(Classification()).metrics(np.zeros((4, 3)), LABELS)

    assert found["loss"] == pytest.approx(math.log(3))


def test_calibration_error_is_zero_when_confidence_equals_accuracy() -> None:
    half_sure = np.zeros((10, 2))
    labels = np.array([0, 1] * 5)

    assert Judging(Classification()).metrics(half_sure, labels)["ece"] == pytest.approx(0.0, abs=1e-12)


def test_calibration_error_of_a_sure_and_wrong_network_is_one() -> None:
    sure = np.tile([100.0, 0.0], (10, 1))

    assert Judging(Classification()).metrics(sure, np.ones(10, dtype=np.int64))["ece"] == pytest.approx(1.0)


def test_top5_accuracy_is_given_for_more_than_five_classes_only() -> None:
    task = Judging(Classification())

    assert "top5_accuracy" not in task.metrics(np.eye(5), np.arange(5))
    assert task.metrics(np.eye(6), np.arange(6))["top5_accuracy"] == 1.0


def test_top5_accuracy_breaks_ties_as_accuracy_does() -> None:
    found = Judging(Classification()).metrics(np.zeros((10, 10)), np.arange(10))

    assert found["accuracy"] == 0.1
    assert found["top5_accuracy"] == 0.5


def test_metrics_of_many_rows_equal_those_of_their_parts() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(20_000, 7)), rng.integers(7, size=20_000)
    task = Judging(Classification())

    parts = [task.metrics(logits[part], labels[part])["loss"] for part in (slice(0, 10_000), slice(10_000, None))]

    assert task.metrics(logits, labels)["loss"] == pytest.approx(np.mean(parts), rel=1e-12)


def test_a_row_with_nan_is_wrong_agrees_with_nothing_and_is_in_no_cell() -> None:
    broken = LOGITS.copy()
    broken[0, 0] = np.nan
    task = Judging(Classification())

    assert not task.correct(broken, LABELS)[0]
    assert task.agreement(broken, broken) == 0.75
    assert task.confusion(broken, LABELS, 3).sum() == 3
    assert math.isnan(task.metrics(broken, LABELS)["loss"])


def test_per_class_accuracy_of_a_class_without_samples_is_none() -> None:
    assert Judging(Classification()).per_class(LOGITS, LABELS, num_classes=3) == [
        {"samples": 3, "accuracy": pytest.approx(2 / 3)},
        {"samples": 1, "accuracy": 1.0},
        {"samples": 0, "accuracy": None},
    ]


def test_confusion_counts_true_by_predicted() -> None:
    assert Judging(Classification()).confusion(LOGITS, LABELS, 3).tolist() == [[2, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_hard_loss_with_smoothing_zero_is_plain_cross_entropy() -> None:
    logits, labels = torch.from_numpy(LOGITS), torch.from_numpy(LABELS)

    assert torch.equal(hard_loss(Classification(), logits, labels), torch.nn.functional.cross_entropy(logits, labels))


def test_label_smoothing_costs_a_sure_and_right_network() -> None:
    logits, labels = torch.tensor([[20.0, 0.0]]), torch.tensor([0])

    assert hard_loss(Classification(label_smoothing=0.1), logits, labels) > hard_loss(Classification(), logits, labels)


@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan])
def test_label_smoothing_outside_zero_to_one_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="no share of a label"):
        Classification(label_smoothing=share)


def test_rows_are_the_logits_themselves() -> None:
    logits = torch.from_numpy(LOGITS)
    batch = named_batch(torch.zeros(len(logits), 1), torch.from_numpy(LABELS), torch.arange(len(logits)), -1, None)

    assert Classification().rows({"logits": logits}, batch).values is logits


def test_outputs_that_fit_the_classes_are_accepted() -> None:
    Classification().check_outputs((4, 10), 10)


def test_a_network_with_another_number_of_outputs_is_refused() -> None:
    with pytest.raises(ModelError, match="has 1000 outputs, the data has 10 classes"):
        Classification().check_outputs((4, 1000), 10)


def test_a_network_that_answers_with_maps_is_refused() -> None:
    with pytest.raises(ModelError, match=r"shape \[4, 10, 8, 8\]; classification needs \[B, 10\]"):
        Classification().check_outputs((4, 10, 8, 8), 10)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1, 0]), "do not fit labels"),
        (np.array([0, 1, 0, 3]), "labels run from 0 to 3"),
        (np.array([0, -1, 0, 1]), "labels run from -1 to 1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Judging(Classification()).metrics(LOGITS, labels)


def test_no_samples_are_refused() -> None:
    with pytest.raises(DataError, match="no sample to judge"):
        Judging(Classification()).metrics(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))


def test_an_answer_is_the_largest_output_and_its_softmax_probability() -> None:
    found = Judging(Classification()).findings(LOGITS, LABELS)

    expected = torch.softmax(torch.from_numpy(LOGITS), dim=1).numpy()
    assert found["decided"].tolist() == [0, 1, 2, 0]
    assert found["confidence"] == pytest.approx(expected.max(axis=1), rel=1e-6)


def test_a_row_that_holds_a_nan_answers_nothing() -> None:
    found = Judging(Classification()).findings(np.array([[np.nan, 1.0], [0.0, 1.0]]), np.array([0, 1]))

    assert found["decided"].tolist() == [-1, 1]


def test_the_bins_of_reliability_give_the_calibration_error() -> None:
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(500, 4)) * 3, generator.integers(4, size=500)

    bins = Judging(Classification()).reliability(logits, labels)

    gaps = sum(entry["samples"] * abs(entry["confidence"] - entry["accuracy"]) for entry in bins) / 500
    assert gaps == pytest.approx(Judging(Classification()).metrics(logits, labels)["ece"])
    assert sum(entry["samples"] for entry in bins) == 500
    assert all(entry["low"] < entry["confidence"] <= entry["high"] for entry in bins)

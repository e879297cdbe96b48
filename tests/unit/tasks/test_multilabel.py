"""The task of several classes for one sample, against independent calculations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score
from torch.nn import functional as F

from compressor import label_sets
from compressor.errors import DataError, InputError, ModelError
from compressor.losses.dkd import DKD
from compressor.losses.kd import KD
from compressor.tasks.multilabel import Multilabel
from compressor.tensors import Batch, Mixed, Outputs
from tests.named import Judging, hard_loss, mixed_with, named_batch

N, K = 40, 5
GENERATOR = np.random.default_rng(3)
LOGITS = np.round(GENERATOR.normal(size=(N, K)), 1)  # rounded, so that some scores are equal
THERE = GENERATOR.random((N, K)) < 0.4
LABELS = label_sets.encode(THERE)


def tensors() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(LOGITS).requires_grad_(), torch.from_numpy(THERE)


def batch_of(labels: torch.Tensor, mixed: Mixed | None = None) -> Batch:
    return named_batch(torch.zeros(len(labels), 1), labels, torch.arange(len(labels)), -1, Multilabel(), mixed)


def test_a_set_of_classes_is_a_number_and_comes_back() -> None:
    assert label_sets.encode(np.array([[1, 0, 1], [0, 0, 0]])).tolist() == [5, 0]
    assert (label_sets.decode(LABELS, K) == THERE).all()
    assert label_sets.decode(label_sets.encode(np.ones((1, 62))), 62).all()


def test_a_set_is_told_in_words() -> None:
    assert [label_sets.named(code, "abc") for code in (5, 0, -1)] == ["a, c", "none", "nothing"]


def test_the_hard_loss_is_binary_cross_entropy() -> None:
    logits, labels = tensors()
    expected = F.binary_cross_entropy(torch.sigmoid(logits), torch.from_numpy(THERE).double())

    assert torch.allclose(hard_loss(Multilabel(), logits, labels), expected)


def test_smoothed_labels_are_drawn_towards_one_half() -> None:
    logits, labels = tensors()
    wanted = torch.from_numpy(THERE).double() * 0.8 + 0.1
    expected = F.binary_cross_entropy(torch.sigmoid(logits), wanted)

    assert torch.allclose(hard_loss(Multilabel(label_smoothing=0.2), logits, labels), expected)


def test_mixing_two_samples_mixes_their_classes() -> None:
    logits, labels = tensors()
    share = torch.full((N,), 0.25)
    both = torch.from_numpy(0.25 * THERE + 0.75 * THERE[::-1]).double()

    mixed = batch_of(labels, mixed_with(labels.flip(0), share)).hard_loss(Outputs.of(logits))

    assert torch.allclose(mixed, F.binary_cross_entropy_with_logits(logits, both).float(), atol=1e-6)


def test_a_sample_without_a_label_teaches_nothing() -> None:
    logits, labels = tensors()
    some = replace(batch_of(labels), labelled=torch.arange(N) % 2 == 1)

    expected = hard_loss(Multilabel(), logits[1::2].float(), labels[1::2])
    assert torch.allclose(some.hard_loss(Outputs.of(logits)), expected)


def test_kd_compares_sigmoids_at_the_temperature() -> None:
    logits, labels = tensors()
    teacher, temperature = torch.from_numpy(LOGITS[::-1].copy()), 3.0
    p, q = torch.sigmoid(teacher / temperature), torch.sigmoid(logits / temperature)
    expected = temperature**2 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()

    found = KD(temperature=temperature, alpha=1.0)(Outputs.of(logits), Outputs.of(teacher), batch_of(labels))

    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    found.backward()
    assert logits.grad is not None
    assert torch.allclose(logits.grad, (temperature * (q - p) / (N * K)).detach(), rtol=1e-4, atol=1e-8)


def test_a_loss_that_needs_the_one_right_class_says_so() -> None:
    logits, labels = tensors()
    with pytest.raises(InputError, match="one right class"):
        DKD()(Outputs.of(logits), Outputs.of(logits.detach()), batch_of(labels))


def test_metrics_are_those_of_scikit_learn() -> None:
    found = Judging(Multilabel()).metrics(LOGITS, LABELS)

    assert found["subset_accuracy"] == ((LOGITS > 0) == THERE).all(axis=1).mean()
    assert found["f1"] == pytest.approx(f1_score(THERE, LOGITS > 0, average="micro"))
    assert found["map"] == pytest.approx(average_precision_score(THERE, LOGITS, average="macro"))


def test_a_class_without_a_sample_is_left_out_of_the_mean_precision() -> None:
    there = THERE.copy()
    there[:, 2] = False
    found = Judging(Multilabel()).metrics(LOGITS, label_sets.encode(there))

    assert found["map"] == pytest.approx(average_precision_score(np.delete(there, 2, 1), np.delete(LOGITS, 2, 1)))
    assert Judging(Multilabel()).per_class(LOGITS, label_sets.encode(there), num_classes=K)[2] == {
        "samples": 0,
        "accuracy": None,
    }


def test_per_class_is_the_share_of_its_samples_that_were_told() -> None:
    found = Judging(Multilabel()).per_class(LOGITS, LABELS, num_classes=K)

    assert [each["samples"] for each in found] == THERE.sum(axis=0).tolist()
    assert [each["accuracy"] for each in found] == [(LOGITS[THERE[:, k], k] > 0).mean() for k in range(K)]


def test_confusion_pairs_what_was_missed_with_what_was_told_instead() -> None:
    labels = label_sets.encode(np.array([[1, 1, 0]]))
    logits = np.array([[2.0, -1.0, 3.0]])  # tells the first and, instead of the second, the third

    assert Judging(Multilabel()).confusion(logits, labels, 3).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_the_probability_of_an_answer_is_that_of_all_its_decisions() -> None:
    found = Judging(Multilabel()).findings(np.array([[0.0, np.log(3.0)], [np.nan, 1.0]]), np.array([0, 0]))

    assert found["decided"].tolist() == [2, -1]
    assert found["confidence"][0] == pytest.approx(0.5 * 0.75)


def test_a_row_with_a_nan_is_wrong_and_agrees_with_nothing() -> None:
    broken = LOGITS.copy()
    broken[0, 0] = np.nan

    assert not Judging(Multilabel()).correct(broken, label_sets.encode(broken > 0))[0]
    assert Judging(Multilabel()).agreement(broken, broken) == (N - 1) / N


def test_reliability_counts_every_decision() -> None:
    assert sum(each["samples"] for each in Judging(Multilabel()).reliability(LOGITS, LABELS)) == N * K


def test_sets_of_more_classes_than_outputs_are_refused() -> None:
    members = label_sets.decode(LABELS, K)
    with pytest.raises(DataError, match="do not fit sets of classes"):
        Multilabel().findings({"logits": LOGITS[:, :4]}, {"members": members})
    with pytest.raises(ModelError, match="4 classes need"):
        Multilabel().check_outputs((2, K), 4)

"""Answers to a set of samples, and how good they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from compressor.errors import MeasurementError
from compressor.measure.accuracy import predict
from compressor.runtimes.fake import Fake
from compressor.tasks.classification import Classification
from tests.named import Judging


class Rows:
    """Samples that are their own position, in K columns."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        return {"rows": np.stack([positions] * 3, axis=1).astype(np.float32)}


def answer(inputs: NDArray[Any]) -> NDArray[np.float32]:
    return inputs.astype(np.float32)


def test_answers_come_in_the_order_of_the_samples_whatever_the_batch() -> None:
    found = [predict(Fake(answer=answer), Rows(10), batch_size=size) for size in (1, 3, 256)]

    assert found[0]["logits"][:, 0].tolist() == list(range(10))
    assert all(np.array_equal(found[0]["logits"], other["logits"]) for other in found)
    assert found[0]["logits"].dtype == np.float32


def test_no_batch_is_larger_than_asked_for() -> None:
    sizes: list[int] = []

    def noting(inputs: NDArray[Any]) -> NDArray[np.float32]:
        sizes.append(len(inputs))
        return answer(inputs)

    predict(Fake(answer=noting), Rows(10), batch_size=4)

    assert sizes == [4, 4, 2]


def test_a_model_that_answers_with_a_fixed_number_of_rows_is_refused() -> None:
    stuck = Fake(answer=lambda inputs: np.zeros((1, 3), dtype=np.float32))

    with pytest.raises(MeasurementError, match=r"answers a batch of 10 with shape \[1, 3\]"):
        predict(stuck, Rows(10))


def test_no_samples_are_refused() -> None:
    with pytest.raises(MeasurementError, match="no sample to answer to"):
        predict(Fake(answer=answer), Rows(0))


def test_an_evaluation_names_classes_and_brackets_the_accuracy() -> None:
    labels = np.array([0, 0, 1, 1])
    logits = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])

    found = Judging(Classification()).evaluate(logits, labels, classes=["cat", "dog", "eel"])

    low, high = found["interval"]
    assert (found["samples"], found["primary"], found["metrics"]["accuracy"]) == (4, "accuracy", 0.75)
    assert low < 0.75 < high
    assert found["per_class"] == [
        {"name": "cat", "samples": 2, "accuracy": 0.5},
        {"name": "dog", "samples": 2, "accuracy": 1.0},
        {"name": "eel", "samples": 0, "accuracy": None},
    ]


def test_the_worst_samples_are_those_lost_to_the_base_the_surest_error_first() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    base = np.array([[5.0, 0], [5, 0], [0, 5], [0, 5], [0, 5]])  # wrong on sample 2
    other = np.array([[0.0, 1], [0, 9], [0, 9], [0, 5], [2, 0]])  # wrong on 0, 1, 2 and 4

    task = Judging(Classification())
    both = (task.findings(base, labels), task.findings(other, labels))

    found = Classification().worst(*both, most=24)

    assert [(each["position"], each["label"], each["base"], each["answer"]) for each in found] == [
        (1, 0, 0, 1),
        (4, 1, 1, 0),
        (0, 0, 0, 1),
    ]
    assert found[0]["probability"] == pytest.approx(1 / (1 + np.exp(-9)))
    assert len(Classification().worst(*both, most=2)) == 2


class _MacroRecall(Classification):
    primary = "macro_recall"

    def metrics(self, findings):  # type: ignore[no-untyped-def]
        each = [found["accuracy"] for found in self.per_class(findings, num_classes=3) if found["samples"]]
        return {"macro_recall": float(np.mean(each))}


def test_a_metric_that_is_no_share_of_right_answers_has_no_interval_of_one() -> None:
    labels = np.array([0, 0, 0, 1])
    logits = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])

    found = Judging(_MacroRecall()).evaluate(logits, labels, classes=["cat", "dog", "eel"])

    assert (found["metrics"]["macro_recall"], found["interval"]) == (0.5, None)

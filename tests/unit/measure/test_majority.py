"""Models beside the best answer that needs no look at the sample, and right answers that are kept to be paired."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from compressor import label_sets
from compressor.measure.majority import packed, unpacked
from compressor.tasks.classification import Classification
from compressor.tasks.multilabel import Multilabel
from compressor.tasks.regression import Regression
from tests.named import Judging

LABELS = np.repeat([0, 1], [83, 70])  # 54.25 % of 153, as in a set of two kinds of pictures


def one_hot(decided_N: NDArray[Any], classes: int = 2) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[decided_N]


def judged(decided_N: NDArray[Any]) -> dict[str, Any]:
    found: dict[str, Any] = Judging(Classification()).evaluate(one_hot(decided_N), LABELS, classes=("cat", "dog"))[
        "majority"
    ]
    return found


@pytest.mark.parametrize("constant", [0, 1])
def test_a_constant_class_is_no_better_than_the_most_common_one(constant: int) -> None:
    found = judged(np.full(153, constant))

    assert (found["answer"], found["p_value"]) == ("cat", 1.0)
    assert found["metric"] == pytest.approx(83 / 153)


def test_a_model_that_has_learned_is_better_than_the_most_common_class() -> None:
    found = judged(np.where(np.arange(153) % 10 == 0, 1 - LABELS, LABELS))

    assert (found["model_only"], found["constant_only"]) == (63, 9)
    assert found["p_value"] < 1e-9


def test_a_few_lucky_answers_are_not_shown_to_be_better() -> None:
    decided = np.zeros(153, np.int64)
    decided[-4:] = 1  # four right, none wrong: one time in sixteen

    assert judged(decided)["p_value"] == pytest.approx(1 / 16)


def test_where_every_sample_has_one_class_nothing_could_be_better() -> None:
    labels = np.zeros(20, np.int64)
    assert Judging(Classification()).evaluate(one_hot(labels), labels, classes=("cat", "dog"))["majority"] is None


def test_of_sets_of_classes_the_constant_is_the_most_common_set() -> None:
    sets = label_sets.encode(np.repeat([[1, 0, 1], [0, 0, 0], [1, 1, 1]], [30, 20, 10], axis=0))
    constant = np.tile(np.float32([1, -1, 1]), (60, 1))

    found = Judging(Multilabel()).evaluate(constant, sets, classes=("a", "b", "c"))["majority"]

    assert (found["answer"], found["metric"], found["p_value"]) == ("a, c", 0.5, 1.0)


@pytest.mark.parametrize(
    ("targets", "constant"),
    [
        (np.linspace(-1, 1, 101), "the mean of the targets"),
        (np.repeat([0.0, 50.0], [80, 21]), "the median of the targets"),
    ],
)
def test_of_numbers_the_constant_is_their_mean_or_their_median(targets: NDArray[Any], constant: str) -> None:
    table = targets[:, None].astype(np.float32)
    task = Regression(tolerance=0.5).for_spread(table.std(axis=0))

    same = Judging(task).evaluate(np.full((101, 1), np.median(targets), np.float32), table, classes=("age",))[
        "majority"
    ]
    exact = Judging(task).evaluate(table, table, classes=("age",))["majority"]

    assert (same["answer"], same["p_value"]) == (constant, 1.0)
    assert exact["p_value"] < 1e-5


def sets_of_rare_classes(seed: int) -> NDArray[np.bool_]:
    there: NDArray[np.bool_] = np.random.default_rng(seed).random((200, 6)) < 0.08
    return there


def test_scores_that_follow_rare_classes_are_no_chance_though_none_is_right_more_often() -> None:
    there = sets_of_rare_classes(0)
    scores = (2.5 * there + np.random.default_rng(1).normal(size=there.shape) - 1).astype(np.float32)

    found = Judging(Multilabel()).evaluate(scores, label_sets.encode(there), classes=tuple("abcdef"))

    assert found["majority"]["answer"] == "none"
    assert found["metrics"]["subset_accuracy"] < found["majority"]["metric"] - 0.1
    assert found["majority"]["p_value"] < 1e-6


def test_scores_that_follow_nothing_are_seldom_taken_for_more_than_chance() -> None:
    shown = 0
    for seed in range(200):
        noise = np.random.default_rng([seed, 1]).normal(size=(200, 1)) + np.zeros(6)  # alike for all classes
        sets = label_sets.encode(sets_of_rare_classes(seed))
        shown += Judging(Multilabel()).evaluate(noise, sets, classes=tuple("abcdef"))["majority"]["p_value"] < 0.05

    assert shown <= 14  # one in forty is 5


def test_numbers_that_come_nearer_than_the_median_are_no_chance_though_few_are_within_tolerance() -> None:
    targets = np.concatenate([np.zeros(30), np.linspace(-100, 100, 170)])[:, None].astype(np.float32)
    task = Regression(tolerance=1.0).for_spread(targets.std(axis=0))
    noise = np.random.default_rng(0).normal(scale=15, size=(200, 1))

    learned = Judging(task).evaluate((targets + noise).astype(np.float32), targets, classes=("age",))
    shuffled = Judging(task).evaluate((targets[::-1] + noise).astype(np.float32), targets, classes=("age",))

    assert learned["metrics"]["within_tolerance"] < learned["majority"]["metric"]
    assert learned["majority"]["p_value"] < 0.01
    assert shuffled["majority"]["p_value"] == 1.0


@pytest.mark.parametrize("count", [1, 7, 8, 9, 153])
def test_right_answers_come_back_as_they_were_kept(count: int) -> None:
    right = np.random.default_rng(count).random(count) < 0.5
    found = unpacked(packed(right), count=count)

    assert found is not None
    assert np.array_equal(found, right)


@pytest.mark.parametrize("text", ["", "AAAA", "not base 64"])
def test_what_was_kept_of_other_samples_is_not_paired(text: str) -> None:
    assert unpacked(text, count=8) is None

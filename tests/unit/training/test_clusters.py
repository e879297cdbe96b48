"""Clusters of classes are those one would draw around a confusion."""

from __future__ import annotations

import numpy as np
import pytest

from compressor.training.clusters import confusable, covariation_of, probabilities_of

NAMES = ("cat", "car", "dog", "bus", "tram", "wolf", "owl", "hawk")


def predictions(groups: list[list[int]], *, num_samples: int = 4000, share: float = 0.3) -> np.ndarray:
    """Softmax outputs of a network that gives a share of its answer to the other classes of a sample's group."""
    generator = np.random.default_rng(3)
    answers = np.full((num_samples, len(NAMES)), 0.01)
    for row, label in enumerate(generator.integers(len(NAMES), size=num_samples)):
        (group,) = (each for each in groups if label in each)
        confused = generator.dirichlet(np.ones(len(group)))
        answers[row, group] += share * confused
        answers[row, label] += 1 - share
    return answers / answers.sum(axis=1, keepdims=True)


def test_a_made_confusion_gives_the_clusters_one_would_draw() -> None:
    drawn = [[0, 2, 5], [1, 3, 4], [6, 7]]

    found = confusable(covariation_of(predictions(drawn)), count=3, names=NAMES, seed=0)

    assert [list(group) for group in found.groups] == drawn
    assert [decision.choice for decision in found.decisions] == ["cat, dog, wolf", "car, bus, tram", "owl, hawk"]
    assert all("vary together most" in decision.reason for decision in found.decisions)


def test_a_class_that_is_confused_with_none_is_left_to_the_generalist_and_named() -> None:
    drawn = [[0, 2, 5], [1, 3, 4, 7], [6]]

    found = confusable(covariation_of(predictions(drawn, share=0.6)), count=3, names=NAMES, seed=0)

    assert [list(group) for group in found.groups] == drawn[:2]
    assert found.alone == (6,)
    assert (found.decisions[-1].what, found.decisions[-1].choice) == ("classes without a specialist", "owl")


def test_the_same_seed_gives_the_same_clusters() -> None:
    covariation = covariation_of(np.random.default_rng(0).dirichlet(np.ones(8), size=500))

    once, again = (confusable(covariation, count=3, names=NAMES, seed=4).groups for _ in range(2))

    assert once == again
    assert once


def test_a_class_that_is_never_predicted_varies_with_none() -> None:
    answers = np.array([[0.5, 0.5, 0.0], [0.25, 0.75, 0.0], [1.0, 0.0, 0.0]])

    found = covariation_of(answers)

    assert found[0, 1] == pytest.approx(-1.0)
    assert (found[2] == 0).all()
    assert (found[:, 2] == 0).all()


def test_probabilities_of_large_logits_are_finite() -> None:
    found = probabilities_of(np.array([[1000.0, 0.0], [0.0, 0.0]], dtype=np.float32))

    assert found.tolist() == [[1.0, 0.0], [0.5, 0.5]]

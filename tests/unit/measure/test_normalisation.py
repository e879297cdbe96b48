"""The normalisation under which a model knows most, and models that know nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from compressor.errors import ModelError
from compressor.measure.normalisation import most_accurate
from compressor.models.normalisation import Normalisation
from tests.named import class_samples


def accuracy(answers_N: NDArray[np.int64], labels_N: NDArray[np.int64]) -> tuple[float, float]:
    return float((answers_N == labels_N).mean()), 0.0


def chosen(answers_N: NDArray[np.int64], labels_N: NDArray[np.int64]) -> str:
    """What is chosen for a model that gives these answers to inputs as they are, and class 0 to any others."""
    samples = class_samples(np.zeros((len(labels_N), 2), np.float32), labels_N)

    def answers(tried: Normalisation) -> NDArray[np.int64]:
        return answers_N if tried.name == "none" else np.zeros_like(answers_N)

    statistics = ([0.5, 0.5], [1.0, 1.0])
    found, _ = most_accurate(
        answers, accuracy, samples=samples, statistics=statistics, metric="accuracy", what="network", where="t.pt"
    )
    return found.name


@pytest.mark.parametrize(("rare", "count"), [(0.03, 200), (0.03, 1000), (0.1, 60)])
def test_a_good_model_of_rare_classes_is_taken(rare, count):
    labels = (np.arange(count) < rare * count).astype(np.int64)
    answers = labels.copy()
    answers[[0, count - 1]] = 0, 1  # a rare one missed, a frequent one mistaken for it
    assert chosen(answers, labels) == "none"


@pytest.mark.parametrize("shares", [(0.97, 0.03), (0.5, 0.5), (0.25, 0.25, 0.25, 0.25)])
@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_answers_at_random_is_refused(shares, seed):
    labels, answers = np.random.default_rng(seed).choice(len(shares), (2, 1000), p=shares)
    with pytest.raises(ModelError, match="knows next to nothing of this data under any common normalisation"):
        chosen(answers, labels)


def test_a_model_that_always_names_the_most_frequent_class_is_refused():
    labels = (np.arange(200) < 6).astype(np.int64)
    with pytest.raises(ModelError, match=r"with the labels shuffled none gives 97\.0 %"):
        chosen(np.zeros(200, np.int64), labels)

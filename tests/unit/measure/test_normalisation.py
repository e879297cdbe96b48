"""The normalisation under which a model knows most, models that know nothing, and what cannot be told apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from compressor.data.samples import Dataset, Samples
from compressor.errors import MeasurementError, ModelError
from compressor.measure.normalisation import (
    Judged,
    Targets,
    judge_classes,
    judged_on,
    more_to_judge_on,
    most_accurate,
    settle,
)
from compressor.models.build import Builder, Loaded
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.recipe import ModelSettings
from compressor.scores import Metric
from compressor.tasks.classification import Classification
from compressor.tensors import LABEL
from tests.named import class_samples, inputs_of, labels_of


def accuracy(answers_N: NDArray[np.int64], targets: Targets) -> Judged:
    right = answers_N == targets[LABEL]
    return Judged(float(right.mean()), right, 1.0 - right)


def chosen(answers_N: NDArray[np.int64], labels_N: NDArray[np.int64]) -> str:
    """What is chosen for a model that gives these answers to inputs as they are, and class 0 to any others."""
    samples = class_samples(np.zeros((len(labels_N), 2), np.float32), labels_N)

    def answers(tried: Normalisation, samples: Samples) -> NDArray[np.int64]:
        return answers_N if tried.name == "none" else np.zeros_like(answers_N)

    statistics = ([0.5, 0.5], [1.0, 1.0])
    found, _ = most_accurate(
        answers,
        accuracy,
        samples=samples,
        more=None,
        statistics=statistics,
        metric=Metric("accuracy"),
        what="network",
        where="t.pt",
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


class Table(nn.Module):
    """Two columns of numbers and two of categories, of which one is moved behind the other in a common embedding."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.kinds = nn.Embedding(7, 4)
        self.numbers = nn.Linear(2, 4)
        self.last = nn.Linear(12, num_classes)

    def forward(self, rows):
        kinds = self.kinds(rows[:, 2:].long() + torch.tensor([0, 4])).flatten(1)
        return self.last(torch.cat([self.numbers(rows[:, :2]), kinds], dim=1).relu())


class Bag(Table):
    """The same in `nn.EmbeddingBag`, which hands on what is looked up without its shape."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = nn.EmbeddingBag(7, 4, mode="sum")
        self.last = nn.Linear(8, 2)


class OneHot(nn.Linear):
    """Categories without an embedding: a fault for any number below 0, and a look-up for none."""

    def forward(self, rows):
        return super().forward(torch.cat([rows[:, :3], F.one_hot(rows[:, 3].long(), 7)], dim=1))


def table(count: int = 200) -> Dataset:
    generator = np.random.default_rng(0)
    rows = np.stack(
        [
            generator.normal(50, 10, count),
            generator.normal(-3, 2, count),
            generator.integers(0, 4, count),
            generator.integers(0, 3, count),
        ],
        axis=1,
    ).astype(np.float32)
    samples = class_samples(rows, (rows[:, 2] > 1).astype(np.int64))
    return Dataset("npz:t.npz", ("low", "high"), samples, None, samples, "", ())


def loaded(module: nn.Module, *, trained: bool) -> Loaded:
    network = Network(module, Normalisation("none", (), ())).eval()
    return Loaded(network, "net", "net.py", Builder("source", "build"), trained=trained)


@pytest.mark.parametrize(
    ("module", "columns"),
    [(Table(), "2, 3"), (Bag(), "2, 3"), (OneHot(10, 2), "2, 3")],
    ids=["embedding", "bag", "one-hot"],
)
def test_columns_of_categories_are_left_alone_where_a_network_is_trained_here(module, columns):
    net = loaded(module, trained=False)
    decisions = settle(net, ModelSettings(model="net.py"), dataset=table(), task=Classification())
    kept = {decision.what: decision.choice for decision in decisions}
    assert kept["columns left as they are"] == columns
    assert net.network.normalisation.name == "data"
    assert net.network.mean[:2].tolist() == pytest.approx([50, -3], abs=2)
    assert (net.network.mean[2:].tolist(), net.network.std[2:].tolist()) == ([0, 0], [1, 1])


def test_numbers_that_no_network_looks_up_are_normalised_as_ever():
    net = loaded(nn.Linear(4, 2), trained=False)
    decisions = settle(net, ModelSettings(model="net.py"), dataset=table(), task=Classification())
    assert [decision.what for decision in decisions] == ["normalisation"]
    assert (net.network.std > 0.5).all()
    assert (net.network.mean != 0).all()


def test_the_search_survives_a_normalisation_under_which_the_network_does_not_run():
    module = OneHot(10, 2)
    with torch.no_grad():
        module.weight.zero_()
        module.bias.zero_()
        module.weight[1, 2], module.bias[1] = 4.0, -6.0  # tells the class by the third column as it is
    net = loaded(module, trained=True)
    (decision,) = [
        each
        for each in settle(net, ModelSettings(model="net.pt"), dataset=table(), task=Classification())
        if each.what == "normalisation"
    ]
    assert decision.choice == "none"
    assert "none 100.0 %" in decision.reason


def test_a_network_that_runs_under_none_is_told_how_to_state_it():
    class Failing(nn.Linear):
        def forward(self, rows):
            raise IndexError("index out of range in self")

    with pytest.raises(ModelError, match="does not run under any common normalisation") as told:
        settle(
            loaded(Failing(4, 2), trained=True),
            ModelSettings(model="net.pt"),
            dataset=table(),
            task=Classification(),
        )
    assert "IndexError: index out of range" in told.value.message
    assert 'normalise = "none"' in (told.value.hint or "")


def right_of(shares: dict[str, float], *, count: int, seed: int, more: bool = False) -> tuple[str, str]:
    """What is chosen where a model answers rightly with these shares, by chance alone; and the reason."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    pictures = class_samples(np.zeros((count, 3, 1, 1), np.float32), labels)

    def answers(tried: Normalisation, samples: Samples) -> NDArray[np.float64]:
        drawn = np.random.default_rng([seed, *tried.name.encode()])
        right = drawn.random(len(samples)) < shares[tried.name]
        told = np.where(right, labels_of(samples), 1 - labels_of(samples))
        sure = drawn.uniform(0.5, 1.5, len(samples))
        return np.stack([-sure, sure], axis=1) * (2 * told[:, None] - 1)

    chosen, why = most_accurate(
        answers,
        judge_classes,
        samples=pictures,
        more=pictures if more else None,
        statistics=([0.5] * 3, [1.0] * 3),
        metric=Metric("accuracy"),
        what="network",
        where="t.pt",
    )
    return chosen.name, why.reason


def test_a_clear_difference_decides_as_it_always_did():
    name, reason = right_of({"imagenet": 0.7, "half": 0.95, "data": 0.8, "none": 0.5}, count=1000, seed=0)
    assert name == "half"
    assert "cannot be told apart" not in reason


@pytest.mark.parametrize("seed", range(5))
def test_what_differs_by_chance_alone_is_said_to_and_inputs_stay_as_they_are(seed):
    name, reason = right_of({"imagenet": 0.8, "half": 0.8, "data": 0.8, "none": 0.8}, count=1000, seed=seed)
    assert "cannot be told apart by accuracy" in reason
    assert name == "none" or "has the least loss" in reason


def sure_of(scales: dict[str, float]) -> tuple[str, str]:
    """What is chosen where a model knows all classes, and is so sure of it; and the reason."""
    labels = np.arange(400) % 2
    pictures = class_samples(np.zeros((400, 3, 1, 1), np.float32), labels)

    def answers(tried: Normalisation, samples: Samples) -> NDArray[np.float64]:
        sure = scales[tried.name] * np.random.default_rng(0).uniform(1.0, 2.0, len(samples))
        return np.stack([-sure, sure], axis=1) * (2 * labels_of(samples)[:, None] - 1)

    chosen, why = most_accurate(
        answers,
        judge_classes,
        samples=pictures,
        more=None,
        statistics=([0.5] * 3, [1.0] * 3),
        metric=Metric("accuracy"),
        what="network",
        where="t.pt",
    )
    return chosen.name, why.reason


def test_where_all_is_told_rightly_the_surest_is_taken_and_it_is_said_that_others_fit():
    name, reason = sure_of({"imagenet": 0.9, "half": 0.8, "data": 2.0, "none": 1.0})
    assert name == "data"
    assert "imagenet, half, data, none cannot be told apart by accuracy, and data has the least loss (" in reason
    assert "state another with normalise = ..." in reason


def test_where_nothing_tells_them_apart_inputs_stay_as_they_are():
    name, reason = sure_of({"imagenet": 1.0, "half": 1.0, "data": 1.0, "none": 1.0})
    assert name == "none"
    assert "imagenet, half, data, none cannot be told apart by accuracy or loss on 400 samples" in reason
    assert "state another with normalise = ..." in reason


class Inside(nn.Module):
    """Normalises by itself, and tells bright pictures from dark ones so surely that nothing can confuse it."""

    def __init__(self, *, by_itself: bool) -> None:
        super().__init__()
        self.by_itself = by_itself
        self.norm = nn.BatchNorm2d(3)
        self.last = nn.Linear(3, 2)
        with torch.no_grad():
            self.last.weight.copy_(torch.tensor([[-9.0], [9.0]]).expand(2, 3))
            self.last.bias.zero_()

    def forward(self, pictures):
        inputs = (pictures - 0.5) / 0.25 if self.by_itself else pictures
        return self.last(self.norm(inputs).mean(dim=(2, 3)))


@pytest.mark.parametrize(("by_itself", "expected"), [(True, "none"), (False, "data")])
def test_a_network_is_normalised_as_it_was_trained_and_not_twice(by_itself, expected):
    """Both know all pictures under two normalisations or more; the statistics of its BatchNorm tell them apart."""
    generator = np.random.default_rng(0)
    labels = np.arange(200) % 2
    pixels = (0.5 + 0.25 * generator.normal(size=(200, 3, 4, 4)) + 0.2 * (2 * labels - 1)[:, None, None, None]).clip(
        0, 1
    )
    samples = class_samples(pixels.astype(np.float32), labels)
    dataset = Dataset("npz:t.npz", ("dark", "bright"), samples, None, samples, "", ())
    module = Inside(by_itself=by_itself).train()
    inputs = torch.from_numpy(inputs_of(samples, np.arange(200)))
    mean, std = inputs.mean(dim=(0, 2, 3), keepdim=True), inputs.std(dim=(0, 2, 3), keepdim=True)
    for _ in range(100):
        module(inputs if by_itself else (inputs - mean) / std)
    net = loaded(module, trained=True)

    (decision,) = settle(net, ModelSettings(model="net.pt"), dataset=dataset, task=Classification())

    assert decision.choice.startswith(expected)
    assert f"what the first BatchNorm was trained on is like {expected}" in decision.reason


def test_more_samples_decide_where_the_first_ones_cannot():
    few = right_of({"imagenet": 0.9, "half": 0.86, "data": 0.5, "none": 0.5}, count=400, seed=3)
    assert (
        "on 800 samples"
        in right_of({"imagenet": 0.9, "half": 0.89, "data": 0.5, "none": 0.5}, count=400, seed=3, more=True)[1]
    )
    assert few[0] in ("imagenet", "half")


def test_more_samples_are_others_and_those_of_validation():
    train = class_samples(np.arange(2500, dtype=np.float32)[:, None], np.zeros(2500, np.int64))
    val = class_samples(np.arange(3000, 3100, dtype=np.float32)[:, None], np.zeros(100, np.int64))
    more = more_to_judge_on(train, val)
    assert more is not None
    first, others = (set(inputs_of(each, np.arange(len(each))).ravel().tolist()) for each in (judged_on(train), more))
    assert not first & others
    assert len(others) == 1000 + 100
    assert more_to_judge_on(val, None) is None


def test_a_normalisation_under_which_a_model_fails_is_left_out_and_named():
    labels = np.arange(60) % 2
    pictures = class_samples(np.zeros((60, 1, 1, 1), np.float32), labels)

    def answers(tried: Normalisation, samples: Samples) -> NDArray[np.float64]:
        if tried.name == "half":
            raise MeasurementError("the network cannot run a batch of [60, 1, 1, 1]: IndexError: out of range")
        sure = 1.0 if tried.name == "none" else -1.0
        signs = 2 * labels_of(samples) - 1
        return np.stack([-sure * signs, sure * signs], axis=1)

    chosen, why = most_accurate(
        answers,
        judge_classes,
        samples=pictures,
        more=None,
        statistics=([0.5], [1.0]),
        metric=Metric("accuracy"),
        what="network",
        where="t.pt",
    )
    assert chosen.name == "none"
    assert "half does not run (the network cannot run a batch of [60, 1, 1, 1]: IndexError: out of range)" in why.reason

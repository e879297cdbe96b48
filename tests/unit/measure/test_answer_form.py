"""Networks that end in a softmax or a sigmoid give their logits; others are left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compressor.measure.answer_form import settle_outputs
from compressor.measure.steadiness import answering
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.tasks.classification import Classification
from compressor.tasks.multilabel import Multilabel
from compressor.tasks.regression import Regression
from tests.named import Judging

INPUTS = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32))


class Halved(nn.Linear):
    """Gives numbers between 0 and 1 that no sigmoid gave."""

    def forward(self, inputs):
        return super().forward(inputs).clamp(0, 1)


def settled(module: nn.Module, task: object) -> tuple[Network, tuple]:
    network = Network(module, Normalisation("none", (), ())).eval()
    answers = answering(network)({"features": INPUTS.numpy()})
    return network, settle_outputs(network, answers, inputs=INPUTS, task=task)


@pytest.mark.parametrize(
    ("ending", "task"),
    [(nn.Softmax(dim=1), Classification()), (nn.Sigmoid(), Multilabel())],
    ids=["softmax", "sigmoid"],
)
@pytest.mark.parametrize("scripted", [False, True])
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_the_logits_of_a_network_that_gives_probabilities_are_taken_back(ending, task, scripted):
    torch.manual_seed(0)
    plain = nn.Linear(5, 3)
    module = nn.Sequential(plain, ending)
    network, (decision,) = settled(torch.jit.trace(module, INPUTS) if scripted else module, task)
    with torch.no_grad():
        logits = plain(INPUTS)
        expected = logits.log_softmax(dim=1) if isinstance(ending, nn.Softmax) else logits
        difference = (network(INPUTS) - expected).abs()
    assert difference.max() < 1e-5, f"max {difference.max():.2e}, mean {difference.mean():.2e}"
    assert decision.what == "the network's outputs"
    assert decision.choice.startswith("probabilities, of which the log")


def test_loss_and_calibration_of_a_network_that_ends_in_a_softmax_are_those_of_its_logits():
    torch.manual_seed(0)
    plain = nn.Linear(5, 3)
    nn.init.normal_(plain.weight, std=3.0)
    labels = plain(INPUTS).argmax(dim=1).numpy()
    ended, _ = settled(nn.Sequential(plain, nn.Softmax(dim=1)), Classification())
    with torch.no_grad():
        of_logits = Judging(Classification()).metrics(plain(INPUTS).numpy(), labels)
        found = Judging(Classification()).metrics(ended(INPUTS).numpy(), labels)
        softened_twice = Judging(Classification()).metrics(plain(INPUTS).softmax(1).numpy(), labels)
    assert found == pytest.approx(of_logits, abs=1e-5)
    assert softened_twice["ece"] > of_logits["ece"] + 0.1


@pytest.mark.parametrize(
    ("module", "task"),
    [
        (nn.Linear(5, 3), Classification()),
        (nn.Sequential(nn.Linear(5, 3), nn.LogSoftmax(dim=1)), Classification()),
        (nn.Linear(5, 3), Multilabel()),
        (Halved(5, 3), Multilabel()),
        (nn.Sequential(nn.Linear(5, 5), nn.Sigmoid(), nn.Linear(5, 3)), Multilabel()),
        (nn.Sequential(nn.Linear(5, 3), nn.Softmax(dim=1)), Regression()),
    ],
)
def test_what_gives_logits_or_numbers_is_left_as_it_is(module, task):
    network, decisions = settled(module, task)
    assert decisions == ()
    assert network.normalisation.probabilities == ""

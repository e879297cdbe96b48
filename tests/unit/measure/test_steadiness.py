"""Networks that answer differently each time, or by what else is in their batch, also in evaluation mode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor.errors import ModelError
from compressor.measure.steadiness import answering, require_steady
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation

PLAIN = Normalisation("none", (), ())


class Dropping(nn.Linear):
    """Drops out for ever, as `F.dropout` does where `training` is not passed on."""

    def forward(self, inputs):
        return super().forward(F.dropout(inputs, 0.3))


class Stuck(nn.BatchNorm1d):
    """Stays in training mode."""

    def train(self, mode=True):
        del mode
        return super().train(True)


class OverTheBatch(nn.Linear):
    """Centres its answers over the batch."""

    def forward(self, inputs):
        answers = super().forward(inputs)
        return answers - answers.mean(dim=0)


class InBatchesAlone(nn.Linear):
    """Fails on a batch of one."""

    def forward(self, inputs):
        assert len(inputs) > 1, "give me more"
        return super().forward(inputs)


def look_at(module: nn.Module) -> np.ndarray:
    torch.manual_seed(0)
    network = Network(module, PLAIN).eval()
    inputs = {"features": np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)}
    return require_steady(answering(network), inputs, network=network, where="net.py")


def test_dropout_without_training_is_refused_in_one_sentence():
    with pytest.raises(ModelError, match="answers the same 8 samples differently each time") as told:
        look_at(Dropping(5, 3))
    assert told.value.where == "net.py"
    assert "training=self.training" in (told.value.hint or "")


@pytest.mark.parametrize(
    ("norm", "said"),
    [
        (Stuck(5), "'1' stays in training mode after eval()"),
        (nn.BatchNorm1d(5, track_running_stats=False), "'1' has track_running_stats=False"),
    ],
)
def test_statistics_of_the_batch_are_refused_and_the_layer_is_named(norm, said):
    with pytest.raises(ModelError, match="depends on the other samples of its batch") as told:
        look_at(nn.Sequential(nn.Linear(5, 5), norm, nn.Linear(5, 3)))
    assert said in (told.value.hint or "")


@pytest.mark.parametrize("module", [OverTheBatch(5, 3), InBatchesAlone(5, 3)])
def test_a_forward_that_mixes_samples_is_refused(module):
    with pytest.raises(ModelError, match="depends on the other samples of its batch"):
        look_at(module)


def test_a_steady_network_draws_no_random_number_and_is_asked_three_or_four_times():
    asked = []
    module = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))
    module.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    answers = look_at(module)
    assert torch.equal(torch.get_rng_state(), before)
    assert answers.shape == (8, 3)
    assert asked == [8, 8, 1]


def test_a_network_that_gives_nan_is_left_to_who_judges_it():
    module = nn.Linear(5, 3)
    nn.init.constant_(module.weight, float("nan"))
    assert np.isnan(look_at(module)).all()

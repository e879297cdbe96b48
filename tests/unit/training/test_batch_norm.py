"""New statistics for BatchNorm are those of the data, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compressor.data.samples import ArraySamples
from compressor.training.batch_norm import re_estimate
from tests.named import class_samples, inputs_of


@pytest.fixture
def samples() -> ArraySamples:
    pixels = np.random.default_rng(0).normal(3.0, 2.0, (512, 4)).astype(np.float32)
    return class_samples(pixels, np.zeros(512, np.int64))


def test_statistics_are_those_of_the_samples(samples):
    network = nn.Sequential(nn.BatchNorm1d(4)).eval()

    assert re_estimate(network, samples, number=512, seed=0) == 1

    pixels = torch.from_numpy(inputs_of(samples, np.arange(512, dtype=np.int64)))
    assert torch.allclose(network[0].running_mean, pixels.mean(0), atol=1e-3)
    assert torch.allclose(network[0].running_var, pixels.var(0), rtol=0.05)


def test_weights_modes_and_momentum_stay(samples):
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, momentum=0.3), nn.Dropout()).eval()
    weights = network[0].weight.clone()

    re_estimate(network, samples, number=256, seed=0)

    assert torch.equal(network[0].weight, weights)
    assert not any(module.training for module in network.modules())
    assert network[1].momentum == 0.3


def test_a_network_without_batch_norm_has_nothing_to_estimate(samples):
    assert re_estimate(nn.Linear(4, 2), samples, number=64, seed=0) == 0

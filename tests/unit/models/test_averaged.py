"""The moving average of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.models.averaged import AveragedWeights
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation


def network():
    torch.manual_seed(0)
    return Network(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), Normalisation("none", (), ()))


def test_the_average_moves_by_one_minus_decay():
    net = network()
    average = AveragedWeights(net, decay=0.5)
    before = average.network.module[0].weight.clone()
    with torch.no_grad():
        net.module[0].weight.add_(1.0)
    average.update(net, step=1000)
    assert torch.allclose(average.network.module[0].weight, before + 0.5)


def test_early_steps_forget_the_start_faster():
    net = network()
    average = AveragedWeights(net, decay=0.999)
    before = average.network.module[0].weight.clone()
    with torch.no_grad():
        net.module[0].weight.add_(1.0)
    average.update(net, step=0)
    moved = (average.network.module[0].weight - before).mean().item()
    assert moved == pytest.approx(0.9)


def test_batchnorm_statistics_are_copied():
    net = network()
    average = AveragedWeights(net, decay=0.999)
    net.train()
    net(torch.randn(8, 2) + 3)
    average.update(net, step=5)
    assert torch.equal(average.network.module[1].running_mean, net.module[1].running_mean)


def test_updating_leaves_the_trained_network_alone():
    net = network()
    average = AveragedWeights(net, decay=0.9)
    before = net.module[0].weight.clone()
    average.update(net, step=0)
    assert torch.equal(net.module[0].weight, before)
    assert net.module[0].weight.requires_grad

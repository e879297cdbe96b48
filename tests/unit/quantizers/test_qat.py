"""Simulated rounding is the rounding that static does, and leaves no trace when it is taken out."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from compressor.quantizers._targets import cpu
from compressor.quantizers.qat import Qat


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))


IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("target", "levels"), [("x86-vnni", 255), ("x86-avx2", 129)])
def test_each_channel_of_weights_lies_on_a_grid_of_its_own(network, target, levels):
    Qat().attach(network, cpu=cpu(target))

    for channel in network[0].weight:
        step = channel.abs().max() / (levels // 2)
        assert torch.allclose(channel / step, (channel / step).round(), atol=1e-3)


def test_inputs_take_256_values_between_their_least_and_largest(network):
    Qat().attach(network, cpu=cpu("x86-vnni"))
    network.train()(IMAGES)
    rounded = network[0].rounded_inputs.eval()(IMAGES)

    assert len(rounded.unique()) <= 256
    assert (rounded - IMAGES).abs().max() <= (IMAGES.max() - IMAGES.min()) / 255
    assert float(network[0].rounded_inputs(torch.zeros(1))) == 0.0


def test_the_range_of_inputs_follows_training_and_stays_in_evaluation(network):
    Qat().attach(network, cpu=cpu("x86-vnni"))
    network.train()(IMAGES)
    high = network[0].rounded_inputs.high.clone()

    network.eval()(10 * IMAGES)
    assert torch.equal(network[0].rounded_inputs.high, high)

    network.train()(10 * IMAGES)
    assert network[0].rounded_inputs.high > high


def test_gradients_pass_straight_through_the_rounding(network):
    plain = copy.deepcopy(network)
    Qat().attach(network, cpu=cpu("x86-vnni"))
    for each in (plain, network):
        each.train()(IMAGES).square().sum().backward()

    found = network[3].parametrizations.weight.original.grad
    assert torch.nn.functional.cosine_similarity(found.flatten(), plain[3].weight.grad.flatten(), dim=0) > 0.99


def test_taken_out_the_network_is_the_float_network_again(network):
    method, before = Qat(), copy.deepcopy(network)
    assert method.attach(network, cpu=cpu("x86-avx2")) == 2
    network.train()(IMAGES)
    assert not torch.equal(network(IMAGES), before(IMAGES))

    method.detach(network)

    assert set(network.state_dict()) == set(before.state_dict())
    assert torch.equal(network(IMAGES), before(IMAGES))


def test_rounding_is_part_of_the_state_so_that_a_run_can_go_on(network):
    Qat().attach(network, cpu=cpu("x86-vnni"))
    network.train()(IMAGES)
    again = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    Qat().attach(again, cpu=cpu("x86-vnni"))

    again.load_state_dict(network.state_dict())

    assert torch.equal(again.eval()(IMAGES), network.eval()(IMAGES))

"""Simulated rounding is the rounding that static does, and leaves no trace when it is taken out."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from compressor.errors import ModelError
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


def test_signed_activations_lie_on_a_grid_around_zero(network):
    Qat().attach(network, cpu=cpu("arm64"))
    network.train()(IMAGES.relu())
    rounded = network[0].rounded_inputs.eval()(IMAGES.relu())

    step = IMAGES.max() * 2 / 255
    assert len(rounded.unique()) <= 129, "half of the grid is for values that are never there"
    assert (rounded - IMAGES.relu()).abs().max() <= step


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens):
        return self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1))


def test_both_projections_of_an_attention_are_rounded_and_left_as_they_were():
    torch.manual_seed(0)
    network, tokens = Attends(), torch.randn(4, 5, 8)
    before = copy.deepcopy(network).eval()(tokens)
    method = Qat()
    method.attach(network, cpu=cpu("x86-vnni"))
    network.train()(tokens).sum().backward()

    inputs = network.attention.rounded_inputs
    assert int(inputs.seen) == 1
    assert network.attention.parametrizations.in_proj_weight.original.grad.abs().sum() > 0
    assert not torch.equal(
        network.attention.out_proj.weight, network.attention.out_proj.parametrizations.weight.original
    )
    assert all(int(each.seen) == 1 for each in network.modules() if hasattr(each, "seen")), (
        "what is never asked is not there"
    )

    method.detach(network)
    assert torch.equal(network.eval()(tokens), before)


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.spectral_norm])
def test_a_weight_that_is_computed_from_others_is_refused_before_training(norm):
    network = nn.Sequential(nn.Flatten(), norm(nn.Linear(192, 4)))

    with pytest.raises(ModelError, match=r"^1: its weight is computed from others.*--method static"):
        Qat().attach(network, cpu=cpu("x86-vnni"))

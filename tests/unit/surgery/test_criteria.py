"""Each criterion against a slow calculation of its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compressor import registry
from compressor.surgery import gradients
from compressor.surgery.cut import Prunable
from compressor.tasks.classification import Classification

WIDTH = 6


class Two(nn.Module):
    """A convolution with BatchNorm that one other layer reads."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, WIDTH, 3, bias=False)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.last = nn.Conv2d(WIDTH, 4, 1, bias=False)

    def forward(self, images):
        return self.last(torch.relu(self.norm(self.first(images)))).mean((2, 3))


@pytest.fixture
def network() -> Two:
    torch.manual_seed(3)
    built = Two().eval()
    nn.init.normal_(built.norm.weight)
    return built


IMAGES, LABELS = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 0])


def named(rows: slice) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    return {"image": IMAGES[rows]}, {"label": LABELS[rows]}


def score(name: str, network: nn.Module) -> np.ndarray:
    criterion = registry.find("criteria", name).load()()
    gradients.accumulate(
        network, [named(slice(0, 2)), named(slice(2, None))], Classification().hard_loss, criterion=criterion
    )
    return Prunable(network, IMAGES[:2]).score(criterion)["first"]


def by_layer(network: Two, value) -> np.ndarray:
    """The mean over conv out, BatchNorm and conv in of the sum of `value` of each weight of a channel."""
    out = value(network.first.weight).flatten(1).sum(1)
    norm = value(network.norm.weight)
    into = value(network.last.weight).transpose(0, 1).flatten(1).sum(1)
    return ((out + norm + into) / 3).detach().numpy()


def test_l1_is_the_sum_of_absolute_weights(network):
    np.testing.assert_allclose(score("l1", network), by_layer(network, torch.abs), rtol=1e-5)


def test_l2_is_the_sum_of_squared_weights(network):
    np.testing.assert_allclose(score("l2", network), by_layer(network, torch.square), rtol=1e-5)


def test_bn_scale_is_the_absolute_factor(network):
    np.testing.assert_allclose(score("bn_scale", network), network.norm.weight.abs().detach().numpy(), rtol=1e-5)


def test_lamp_is_the_share_of_what_is_not_smaller(network):
    squares = by_layer(network, torch.square)
    expected = [each / sum(other for other in squares if other >= each) for each in squares]

    np.testing.assert_allclose(score("lamp", network), expected, rtol=1e-5)
    assert score("lamp", network).max() == pytest.approx(1.0)


def test_fpgm_sends_away_the_channel_in_the_middle(network):
    """Channels on a line: the one between the others is nearest to all of them, though its weights are not the smallest."""
    with torch.no_grad():
        direction, entry = torch.ones(3, 3, 3), torch.ones(4, 1, 1)
        for channel, place in enumerate((1.0, 2.0, 3.0, 4.0, 5.0, 30.0)):
            network.first.weight[channel] = place * direction
            network.last.weight[:, channel] = place * entry
        network.norm.weight.fill_(1.0)

    assert score("fpgm", network).argmin() in (2, 3)
    assert score("fpgm", network).argmax() == 5


def test_fpgm_tells_opposite_filters_from_filters_that_replace_one_another(network):
    generator = torch.Generator().manual_seed(1)
    opposite, alike = torch.randn(2, 3, 3, 3, generator=generator)
    with torch.no_grad():
        for channel, weights in enumerate((opposite, -opposite, alike, 1.01 * alike, 0.99 * alike, 1.02 * alike)):
            network.first.weight[channel] = weights

    assert set(np.argsort(score("fpgm", network))[-2:]) == {0, 1}


def gradient(network: nn.Module, images, labels) -> dict[str, torch.Tensor]:
    network.zero_grad()
    F.cross_entropy(network(images), labels).backward()
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


def test_taylor_is_weight_times_gradient_of_the_mean_loss(network):
    whole = gradient(network, IMAGES, LABELS)
    out = (network.first.weight * whole["first.weight"]).abs().flatten(1).sum(1)
    into = (network.last.weight * whole["last.weight"]).abs().transpose(0, 1).flatten(1).sum(1)

    np.testing.assert_allclose(score("taylor", network), ((out + into) / 2).detach().numpy(), rtol=1e-4)


def test_hessian_is_squared_weight_times_mean_squared_gradient_of_single_samples(network):
    singles = [gradient(network, IMAGES[i : i + 1], LABELS[i : i + 1]) for i in range(len(IMAGES))]
    fisher = {name: torch.stack([each[name] for each in singles]).square().mean(0) for name in singles[0]}
    out = (network.first.weight.square() * fisher["first.weight"]).flatten(1).sum(1)
    norm = network.norm.weight.square() * fisher["norm.weight"]
    into = (network.last.weight.square() * fisher["last.weight"]).transpose(0, 1).flatten(1).sum(1)

    np.testing.assert_allclose(score("hessian", network), ((out + norm + into) / 3).detach().numpy(), rtol=1e-4)


def test_random_is_another_draw_for_another_seed(network):
    prunable, random = Prunable(network, IMAGES[:2]), registry.find("criteria", "random").load()

    assert np.array_equal(prunable.score(random(seed=1))["first"], prunable.score(random(seed=1))["first"])
    assert not np.array_equal(prunable.score(random(seed=1))["first"], prunable.score(random(seed=2))["first"])


def test_gradients_are_those_of_the_mean_over_all_samples(network):
    criterion = registry.find("criteria", "taylor").load()()
    expected = gradient(network, IMAGES, LABELS)

    gradients.accumulate(
        network, [named(slice(0, 1)), named(slice(1, None))], Classification().hard_loss, criterion=criterion
    )

    for name, parameter in network.named_parameters():
        assert torch.allclose(parameter.grad, expected[name], atol=1e-6), name


@pytest.mark.parametrize("name", ["taylor", "hessian"])
def test_frozen_layers_are_scored_like_all_others_and_stay_frozen(network, name):
    expected = score(name, network)
    network.norm.requires_grad_(False)
    network.last.requires_grad_(False)

    np.testing.assert_allclose(score(name, network), expected, rtol=1e-5)
    frozen = [key for key, parameter in network.named_parameters() if not parameter.requires_grad]
    assert frozen == ["norm.weight", "norm.bias", "last.weight"]

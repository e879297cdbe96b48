"""BatchNorm folded into convolutions answers as before."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from compressor.models.folding import fold_batch_norm
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.shortcut = nn.Conv2d(3, 4, 1)

    def forward(self, inputs):
        return torch.relu(self.norm(self.conv(inputs)) + self.shortcut(inputs))


class Undecided(Block):
    def forward(self, inputs):
        return super().forward(inputs) if inputs.sum() > 0 else inputs  # torch.fx cannot follow this


def trained(block: nn.Module) -> Network:
    torch.manual_seed(0)
    module = nn.Sequential(block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    network = Network(module, Normalisation("data", (0.4, 0.5, 0.6), (0.2, 0.2, 0.3)))
    network.train()
    for _ in range(5):
        network(torch.rand(16, 3, 8, 8) * 3)
    return network.eval()


def test_a_folded_network_answers_the_same_with_fewer_layers():
    network, inputs = trained(Block()), torch.rand(8, 3, 8, 8)
    folded, why = fold_batch_norm(network, inputs)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert torch.allclose(folded(inputs), network(inputs), atol=1e-5)
    assert why.startswith("1 of 1")
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_the_network_itself_is_left_alone():
    network = trained(Block())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fold_batch_norm(network, torch.rand(8, 3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_network_that_cannot_be_followed_is_used_as_it_is():
    network = trained(Undecided())
    folded, why = fold_batch_norm(network, torch.rand(8, 3, 8, 8))
    assert folded is network
    assert "torch.fx cannot follow it" in why


def test_a_network_without_batch_norm_is_used_as_it_is():
    network = Network(nn.Linear(2, 2), Normalisation("none", (), ())).eval()
    assert fold_batch_norm(network, torch.rand(3, 2)) == (network, "it has none")


class Own(nn.BatchNorm2d):
    """A norm with a forward of its own, which torch.fx follows into, as timm has them."""

    def forward(self, inputs):
        return F.relu(F.batch_norm(inputs, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps))


class Mixed(Block):
    def __init__(self) -> None:
        super().__init__()
        self.second, self.own = nn.Conv2d(3, 4, 1), Own(4)

    def forward(self, inputs):
        return super().forward(inputs) + self.own(self.second(inputs))


def test_a_norm_that_is_still_computed_is_not_counted_as_folded():
    folded, why = fold_batch_norm(trained(Mixed()), torch.rand(8, 3, 8, 8))

    assert why.startswith("1 of 2")
    assert "batch_norm" in {getattr(node.target, "__name__", "") for node in folded.module.graph.nodes}


def test_a_network_of_which_nothing_can_be_folded_is_used_as_it_is():
    network = trained(nn.Sequential(nn.Conv2d(3, 4, 1), Own(4)))

    folded, why = fold_batch_norm(network, torch.rand(8, 3, 8, 8))

    assert folded is network
    assert "none of 1" in why

"""What every criterion must keep to; a new file joins by existing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compressor import registry
from compressor.surgery import gradients
from compressor.surgery.cut import Prunable
from compressor.tasks.classification import Classification

CRITERIA = registry.members("criteria")


class Residual(nn.Module):
    """Two convolutions on a shortcut, a depthwise one, BatchNorm, and an output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.wide = nn.Conv2d(8, 12, 1, bias=False)
        self.back = nn.Conv2d(12, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, images):
        trunk = torch.relu(self.norm(self.stem(images)))
        trunk = trunk + self.back(torch.relu(self.wide(self.deep(trunk))))
        return self.head(trunk.mean((2, 3)))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    built = Residual().eval()
    nn.init.uniform_(built.norm.weight, 0.1, 2.0)
    return built


def batches():
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        yield {"image": torch.randn(4, 3, 6, 6, generator=generator)}, {"label": torch.tensor([0, 1, 2, 3])}


def scored(member: registry.Member, network: nn.Module) -> dict[str, np.ndarray]:
    criterion = member.load()()
    gradients.accumulate(network, batches(), Classification().hard_loss, criterion=criterion)
    return Prunable(network, torch.randn(2, 3, 6, 6)).score(criterion)


@pytest.mark.parametrize("member", CRITERIA, ids=lambda member: member.name)
def test_every_unit_of_every_group_has_one_finite_score(member, network):
    scores = scored(member, network)

    assert {name: each.shape for name, each in scores.items()} == {"stem": (8,), "wide": (12,)}
    assert all(np.isfinite(each).all() for each in scores.values())
    assert all((each >= 0).all() for each in scores.values())


@pytest.mark.parametrize("member", CRITERIA, ids=lambda member: member.name)
def test_scores_tell_channels_apart_and_are_the_same_again(member, network):
    first, again = scored(member, network), scored(member, network)

    assert all(len(np.unique(each)) > 1 for each in first.values())
    for name in first:
        assert np.array_equal(first[name], again[name])


@pytest.mark.parametrize(
    "member", [member for member in CRITERIA if member.name not in ("random", "fpgm")], ids=lambda member: member.name
)
def test_a_channel_that_does_nothing_matters_least(member, network):
    with torch.no_grad():
        network.wide.weight[5] = 0
        network.back.weight[:, 5] = 0

    assert scored(member, network)["wide"].argmin() == 5


@pytest.mark.parametrize("member", CRITERIA, ids=lambda member: member.name)
def test_scoring_leaves_weights_and_mode_as_they_were(member, network):
    before = {name: value.clone() for name, value in network.state_dict().items()}

    scored(member, network)

    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training

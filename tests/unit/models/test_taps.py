"""Outputs of inner modules, read without touching the network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.errors import ModelError
from compressor.models.taps import tapped


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) for part in module.modules())


def test_the_outputs_of_the_named_modules_are_kept() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()), nn.Linear(3, 1))

    with tapped(network, ["0", "1.0"]) as features:
        network(torch.ones(4, 2))

    assert {path: tuple(value.shape) for path, value in features.items()} == {"0": (4, 3), "1.0": (4, 3)}
    assert torch.equal(features["1.0"], features["0"].relu())


def test_gradients_reach_a_tapped_output() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))

    with tapped(network, ["0"]) as features:
        network(torch.ones(4, 2))
    features["0"].sum().backward()

    assert network[0].weight.grad is not None


def test_nothing_is_left_behind() -> None:
    network = nn.Sequential(nn.Linear(2, 3))

    with tapped(network, ["0"]):
        assert hooks(network) == 1

    assert hooks(network) == 0


@pytest.mark.parametrize("width", [1, 12])
def test_a_misspelt_path_is_answered_with_the_nearest_and_leaves_nothing(width: int) -> None:
    network = nn.ModuleDict({f"layer{index}": nn.Linear(1, 1) for index in range(width)})

    with (
        pytest.raises(ModelError, match=r"no module at 'layer_0' — did you mean 'layer0'\?"),
        tapped(network, ["layer0", "layer_0"]),
    ):
        pass

    assert hooks(network) == 0


def test_a_path_like_no_other_is_told_where_to_look() -> None:
    with pytest.raises(ModelError, match="compress inspect lists them"), tapped(nn.Sequential(nn.ReLU()), ["zzz"]):
        pass

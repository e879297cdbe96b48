"""Wide residual networks: the authors' parameter counts, their groups, gradients."""

from __future__ import annotations

import pytest
import torch

from compressor.models.inspection import tap_points
from compressor.models.spec import zoo_folder
from compressor.registry import import_file

wide_resnet = import_file(zoo_folder() / "wide_resnet.py")


@pytest.mark.parametrize(
    ("name", "millions"),
    [("wrn_16_1", 0.2), ("wrn_16_2", 0.7), ("wrn_40_1", 0.6), ("wrn_40_2", 2.2), ("wrn_28_10", 36.5)],
)
def test_parameters_are_those_of_the_paper(name: str, millions: float) -> None:
    with torch.device("meta"):
        network = getattr(wide_resnet, name)()

    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_wrn_16_2_has_as_many_parameters_as_repdistiller_s() -> None:
    network = wide_resnet.wrn_16_2(num_classes=100)

    assert sum(parameter.numel() for parameter in network.parameters()) == 703_284


def test_the_three_groups_halve_the_maps_twice() -> None:
    shapes = {point.path: point.shape for point in tap_points(wide_resnet.wrn_16_2(), (3, 32, 32))}

    assert shapes["group1"] == (32, 32, 32)
    assert shapes["group2"] == (64, 16, 16)
    assert shapes["fc"] == (10,)


def test_gradients_reach_the_first_convolution() -> None:
    network = wide_resnet.wrn_16_1(num_classes=4, in_channels=1)

    network(torch.rand(2, 1, 16, 16)).logsumexp(1).sum().backward()

    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.conv.weight.grad.abs().sum() > 0

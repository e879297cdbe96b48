"""LeNet-5: the count everyone knows, both image sizes, gradients."""

from __future__ import annotations

import pytest
import torch

from compressor.models.spec import zoo_folder
from compressor.registry import import_file

lenet = import_file(zoo_folder() / "lenet.py")


def test_lenet5_has_61706_parameters_on_mnist() -> None:
    network = lenet.lenet5(in_channels=1)

    assert sum(parameter.numel() for parameter in network.parameters()) == 61_706


@pytest.mark.parametrize("side", [28, 32])
def test_both_usual_image_sizes_give_logits(side: int) -> None:
    assert lenet.lenet5(num_classes=7)(torch.rand(2, 3, side, side)).shape == (2, 7)


def test_every_parameter_gets_a_gradient() -> None:
    network = lenet.lenet5(in_channels=1)

    network(torch.rand(4, 1, 28, 28)).logsumexp(1).sum().backward()

    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())

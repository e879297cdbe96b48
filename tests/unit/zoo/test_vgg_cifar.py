"""VGG-8: RepDistiller's parameter count, its stages, gradients."""

from __future__ import annotations

import torch

from compressor.models.inspection import tap_points
from compressor.models.spec import zoo_folder
from compressor.registry import import_file

vgg_cifar = import_file(zoo_folder() / "vgg_cifar.py")


def test_vgg8_has_as_many_parameters_as_repdistiller_s() -> None:
    network = vgg_cifar.vgg8(num_classes=100)

    assert sum(parameter.numel() for parameter in network.parameters()) == 3_965_028


def test_three_poolings_leave_4x4_maps() -> None:
    shapes = {point.path: point.shape for point in tap_points(vgg_cifar.vgg8(), (3, 32, 32), every=True)}

    assert shapes["block2"] == (256, 8, 8)
    assert shapes["block4"] == (512, 4, 4)
    assert shapes["classifier"] == (10,)


def test_every_weight_gets_a_gradient() -> None:
    network = vgg_cifar.vgg8(in_channels=1)

    network(torch.rand(4, 1, 16, 16)).logsumexp(1).sum().backward()

    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.block0[0].weight.grad.abs().sum() > 0

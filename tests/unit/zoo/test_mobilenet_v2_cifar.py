"""MobileNetV2: the paper's parameter count, the CIFAR strides, widths, gradients."""

from __future__ import annotations

import pytest
import torch

from compressor.models.inspection import tap_points
from compressor.models.spec import zoo_folder
from compressor.registry import import_file

mobilenet = import_file(zoo_folder() / "mobilenet_v2_cifar.py")


@pytest.mark.parametrize(("width", "millions"), [(1.0, 3.50), (1.4, 6.11), (0.5, 1.97)])
def test_with_1000_classes_it_has_the_paper_s_parameters(width: float, millions: float) -> None:
    network = mobilenet.mobilenet_v2(num_classes=1000, width=width)

    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


def test_32x32_images_end_as_4x4_maps() -> None:
    network = mobilenet.mobilenet_v2()
    shapes = {point.path: point.shape for point in tap_points(network, (3, 32, 32))}

    assert shapes["stem"] == (32, 32, 32)
    assert shapes["stages"] == (320, 4, 4)
    assert shapes["head"] == (1280, 4, 4)


def test_gradients_reach_the_stem() -> None:
    network = mobilenet.mobilenet_v2(num_classes=4, in_channels=1, width=0.25)

    network(torch.rand(4, 1, 8, 8)).logsumexp(1).sum().backward()

    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.stem[0].weight.grad.abs().sum() > 0

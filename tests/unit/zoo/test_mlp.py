"""The MNIST networks of Hinton et al. 2015."""

from __future__ import annotations

import pytest
import torch

from compressor.models.spec import zoo_folder
from compressor.registry import import_file

mlp = import_file(zoo_folder() / "mlp.py").mlp


@pytest.mark.parametrize(("hidden", "parameters"), [(800, 1_276_810), (1200, 2_395_210)])
def test_student_and_teacher_have_the_parameters_of_their_layers(hidden: int, parameters: int) -> None:
    network = mlp(in_channels=1, hidden=hidden)

    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_images_are_flattened_to_logits() -> None:
    network = mlp(num_classes=5, hidden=16, depth=3, image_size=8)

    assert network(torch.rand(2, 3, 8, 8)).shape == (2, 5)


def test_every_parameter_gets_a_gradient() -> None:
    network = mlp(in_channels=1, hidden=32, dropout=0.5)

    network(torch.rand(16, 1, 28, 28)).logsumexp(1).sum().backward()

    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())

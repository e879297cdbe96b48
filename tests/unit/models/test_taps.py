"""Outputs of inner modules, read without touching the network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.errors import ModelError
from compressor.models.taps import feature_shapes, tapped


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) for part in module.modules())


def test_the_outputs_of_the_named_modules_are_kept() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()), nn.Linear(3, 1))

    with tapped(network, ["0", "1.0"]) as features:
        network(torch.ones(4, 2))

    assert {path: tuple(value.shape) for path, value in features.items()} == {"0": (4, 3), "1.0": (4, 3)}
    assert torch.equal(features["1.0"], features["0"].relu())


def test_an_output_is_kept_as_it_was_before_it_was_changed_in_place() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True))
    inputs = torch.tensor([[1.0, -2.0], [-3.0, 1.0]])

    with tapped(network, ["0"]) as features:
        network(inputs)

    assert torch.equal(features["0"], network[0](inputs))


def test_what_is_kept_in_inference_mode_can_be_learned_from() -> None:
    network = nn.Sequential(nn.Linear(2, 3))

    with torch.inference_mode(), tapped(network, ["0"]) as features:
        network(torch.ones(4, 2))

    assert not features["0"].is_inference()
    assert not features["0"].requires_grad


def test_modules_that_give_something_else_than_a_tensor_have_no_features() -> None:
    class Body(nn.Module):
        def forward(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"found": inputs}

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = Body(), nn.Linear(2, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(inputs)["found"])

    assert feature_shapes(Whole(), torch.ones(4, 2)) == {"head": (4, 3)}


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

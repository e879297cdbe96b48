"""A network behind its normalisation, and the logits in what it returns."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from compressor.errors import ModelError
from compressor.models.network import Network, logits_of
from compressor.models.normalisation import Normalisation

LOGITS = torch.arange(6.0).view(2, 3)


@pytest.mark.parametrize(
    "output", [LOGITS, (LOGITS, "aux"), [LOGITS], {"logits": LOGITS, "loss": 1}, SimpleNamespace(logits=LOGITS)]
)
def test_logits_are_found_in_what_networks_return(output: object) -> None:
    assert torch.equal(logits_of(output), LOGITS)


@pytest.mark.parametrize("output", [None, 3, {}, {"features": LOGITS}, (), ("text",), "text"])
def test_what_holds_no_logits_is_refused(output: object) -> None:
    with pytest.raises(ModelError, match=f"returns {type(output).__name__}, in which there are no logits"):
        logits_of(output)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 3)])
def test_inputs_are_normalised_along_their_channels(shape: tuple[int, ...]) -> None:
    network = Network(nn.Identity(), Normalisation("stated", (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)))

    outputs = network(torch.ones(shape)).movedim(1, -1).reshape(-1, 3)

    assert torch.allclose(outputs, torch.tensor([1.8, 0.8, 0.35]))


def test_without_normalisation_inputs_pass_as_they_are() -> None:
    assert torch.equal(Network(nn.Identity(), Normalisation("none", (), ()))(LOGITS), LOGITS)


def test_normalisation_can_be_replaced_and_is_no_weight() -> None:
    network = Network(nn.Linear(3, 1), Normalisation("none", (), ()))

    network.set_normalisation(Normalisation("half", (0.5,) * 3, (0.5,) * 3))

    assert list(network.state_dict()) == ["module.weight", "module.bias"]
    assert torch.equal(network(torch.full((1, 3), 0.5)), network.module(torch.zeros(1, 3)))


def test_outputs_are_brought_to_their_unit_behind_the_network() -> None:
    network = Network(nn.Identity(), Normalisation("none", (), (), ((10.0, -1.0), (2.0, 0.5))))

    assert torch.equal(network(torch.tensor([[0.0, 0.0], [1.0, 2.0]])), torch.tensor([[10.0, -1.0], [12.0, 0.0]]))

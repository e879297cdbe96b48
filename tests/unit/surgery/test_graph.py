"""What cannot be followed costs the layers that pass it, not the network; and nothing is left behind by looking."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compressor.surgery.cut import Prunable
from compressor.surgery.record import Surgery

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Middle(nn.Module):
    """Two convolutions, something in between that the test says, and a head."""

    def __init__(self, between, *, weight: tuple[int, ...] = (1,)) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3)
        self.weight, self.last = nn.Parameter(torch.randn(weight)), nn.Linear(16, 5)
        self.between = between

    def forward(self, images):
        return self.between(self, F.relu(self.second(F.relu(self.first(images)))))


def names(prunable: Prunable) -> list[str]:
    return [group.name for group in prunable.groups]


class Shuffling(nn.Module):
    """A block of ShuffleNet v2: half of the channels pass, the other half is worked on, and both are shuffled."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 12, 1), nn.ReLU(), nn.Conv2d(12, 8, 3, padding=1)) for _ in range(2)
        )
        self.wide, self.last = nn.Conv2d(16, 24, 1), nn.Linear(24, 5)

    def forward(self, images):
        found = self.stem(images)
        for block in self.blocks:
            left, right = found.chunk(2, dim=1)
            both = torch.cat([left, block(right)], dim=1)
            parts = both.view(len(both), 2, 8, *both.shape[2:]).transpose(1, 2).contiguous()
            found = parts.view(len(both), 16, *both.shape[2:])
        return self.last(self.wide(found).relu().mean((2, 3)))


def test_a_network_that_shuffles_channels_is_cut_where_no_shuffle_sees_it():
    prunable = Prunable(Shuffling().eval(), IMAGES)

    assert names(prunable) == ["blocks.0.0", "blocks.1.0", "wide"]
    assert {"stem", "blocks.0.2", "blocks.1.2"} <= prunable.spared.keys()
    pruned = prunable.cut({"blocks.0.0": np.arange(6), "wide": np.arange(16)})
    assert (pruned.blocks[0][2].in_channels, pruned.last.in_features) == (6, 16)


@pytest.mark.slow
def test_shufflenet_v2_is_cut():
    torchvision = pytest.importorskip("torchvision")
    network = torchvision.models.ShuffleNetV2([1, 2, 1], [16, 32, 64, 128, 64], num_classes=4).eval()
    prunable = Prunable(network, torch.randn(2, 3, 32, 32))

    assert {"conv1.0", "stage2.0.branch2.0", "stage3.1.branch2.0", "conv5.0"} <= set(names(prunable))
    assert {"stage3.0.branch2.5", "stage3.1.branch2.5", "stage4.0.branch2.5"} <= prunable.spared.keys()


class Answers(Middle):
    """An answer that holds what has no channels: nothing, whole numbers, one number for all."""

    def forward(self, images):
        logits = super().forward(images)
        return {"logits": logits, "aux": None, "class": logits.argmax(1), "loss": logits.sum(), "step": 3}


def test_an_answer_may_hold_nothing_whole_numbers_and_a_single_number():
    prunable = Prunable(Answers(lambda self, found: self.last(found.mean((2, 3)))).eval(), IMAGES)

    assert names(prunable) == ["first", "second"]
    assert prunable.spared == {"last": "its channels are the outputs of the network"}


@pytest.mark.timeout(60)
def test_channels_that_an_einsum_sends_in_circles_are_spared_and_the_rest_is_cut():
    def bilinear(self, found):
        pooled = found.mean((2, 3))
        return torch.einsum("bi,kij,bj->bk", pooled, self.weight, pooled)

    prunable = Prunable(Middle(bilinear, weight=(5, 16, 16)).eval(), IMAGES)

    assert names(prunable) == ["first"]
    assert "come back to themselves" in prunable.spared["second"]
    assert "the answer has no gradient for it" in prunable.spared["last"], "the forward does not use it"


def test_layers_that_no_gradient_reaches_are_spared_and_said_to_be():
    network = Middle(lambda self, found: self.last(found.detach().mean((2, 3)))).eval()

    with pytest.raises(Exception, match="first: the answer has no gradient for it"):
        Prunable(network, IMAGES)


class Caching(nn.Module):
    """Biases that are computed once in evaluation mode and kept until the next training, as in timm's LeViT."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 1), nn.Linear(16, 5)
        self.biases, self.kept = nn.Parameter(torch.randn(8)), {}

    def train(self, mode: bool = True):
        super().train(mode)
        if mode:
            self.kept = {}
        return self

    def forward(self, images):
        if "all" not in self.kept:
            self.kept["all"] = 2 * self.biases
        return self.last(self.second(self.first(images).relu() + self.kept["all"]).relu().mean((2, 3)))


def test_a_network_that_keeps_what_it_computed_is_cut_and_left_without_traces():
    network = Caching().eval()
    prunable = Prunable(network, IMAGES)
    pruned = prunable.cut({"second": np.arange(8)})

    assert "second" in names(prunable)
    assert network.kept == {}
    assert pruned.kept == {}
    copy.deepcopy(pruned)


def test_a_network_that_came_with_a_computed_tensor_is_cut_all_the_same():
    network = Caching().eval()
    network(IMAGES)
    assert not network.kept["all"].is_leaf

    prunable = Prunable(network, IMAGES)

    assert prunable.cut({"second": np.arange(8)}).second.out_channels == 8
    assert not network.kept["all"].is_leaf


class Multiplied(nn.Module):
    """Each channel is its own group, and gives two: as where timm's PiT pools."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.doubled = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 32, 3, groups=16)
        self.inner, self.last = nn.Conv2d(32, 24, 1), nn.Linear(24, 5)

    def forward(self, images):
        return self.last(self.inner(self.doubled(self.first(images)).relu()).relu().mean((2, 3)))


def test_the_reason_of_a_width_that_cannot_be_divided_names_who_asks_for_it():
    prunable = Prunable(Multiplied().eval(), IMAGES)

    assert "inner" in names(prunable)
    assert "its 16 channels can only go together" in prunable.spared["first"]
    assert "the 16 parts of doubled" in prunable.spared["first"]


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_a_recurrent_layer_is_spared_with_the_reason(kind):
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.remembers, self.inner, self.last = kind(4, 24, batch_first=True), nn.Linear(24, 16), nn.Linear(16, 5)

        def forward(self, series):
            return self.last(self.inner(self.remembers(series.transpose(1, 2))[0][:, -1]).relu())

    prunable = Prunable(Recurrent().eval(), torch.randn(2, 4, 10))

    assert names(prunable) == ["inner"]
    assert prunable.spared["remembers"] == "the width of what a recurrent layer remembers is not cut"


class Optional(Middle):
    def forward(self, images, mask=None):
        return super().forward(images if mask is None else images * mask)


def test_a_forward_that_would_take_a_second_input_is_given_one():
    prunable = Prunable(Optional(lambda self, found: self.last(found.mean((2, 3)))).eval(), IMAGES)

    assert names(prunable) == ["first", "second"]


def test_what_is_cut_past_a_shuffle_is_recorded_and_built_again():
    network = Shuffling().eval()
    pruned = Prunable(network, IMAGES).cut({"blocks.0.0": np.arange(6)})

    again = Shuffling().eval()
    Surgery.between(network, pruned).apply(again)
    again.load_state_dict(pruned.state_dict())

    assert torch.equal(again(IMAGES), pruned(IMAGES))

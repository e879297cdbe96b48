"""The record of a cut turns a freshly built network into the pruned one."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from compressor.errors import ArtifactError
from compressor.surgery.record import Surgery


class Small(nn.Module):
    def __init__(self, width: int = 8, heads: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.last = nn.Linear(width, 2)
        self.scale = nn.Parameter(torch.ones(width))
        self.heads = heads
        self.sizes = (width, width)

    def forward(self, images):
        return self.last((self.norm(self.first(images)) * self.scale[:, None, None]).mean((2, 3)))


def recorded(before: nn.Module, after: nn.Module) -> Surgery:
    return Surgery.from_json(json.loads(json.dumps(Surgery.between(before, after).as_json())))


def test_a_recorded_cut_gives_a_fresh_network_the_shape_of_the_pruned_one():
    pruned, fresh = Small(5, heads=3).eval(), Small().eval()
    recorded(Small(), pruned).apply(fresh)
    fresh.load_state_dict(pruned.state_dict())

    images = torch.rand(2, 3, 6, 6)
    assert torch.equal(fresh(images), pruned(images))
    assert (fresh.heads, fresh.sizes, fresh.first.out_channels, fresh.norm.num_features) == (3, (5, 5), 5, 5)


def test_a_cut_network_learns_like_one_that_was_built_that_narrow():
    fresh = Small()
    recorded(Small(), Small(5)).apply(fresh)

    fresh(torch.rand(2, 3, 6, 6)).sum().backward()

    assert all(parameter.grad is not None for parameter in fresh.parameters())


def test_two_cuts_in_a_row_are_one_record():
    whole, once, twice = Small(8), Small(6, heads=3), Small(4, heads=3)

    assert Surgery.between(whole, once).then(Surgery.between(once, twice)) == Surgery.between(whole, twice)


def test_networks_that_are_alike_have_nothing_to_record():
    assert Surgery.between(Small(), Small()) == Surgery()


def test_networks_of_other_modules_cannot_be_recorded():
    other = Small()
    other.more = nn.Linear(2, 2)

    with pytest.raises(ArtifactError, match="'more' is in one of the networks alone"):
        Surgery.between(Small(), other)


def test_a_builder_that_builds_another_network_now_is_named():
    other = Small()
    del other.heads

    with pytest.raises(ArtifactError, match=r"no '\.heads'"):
        recorded(Small(), Small(heads=3)).apply(other)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"numbers": 3, "shapes": {}},
        {"numbers": {}, "shapes": {"a": ["wide"]}},
        {"numbers": {"": {"heads": "3"}}, "shapes": {}},
    ],
)
def test_a_damaged_record_is_refused(raw):
    with pytest.raises(ArtifactError, match="record of surgery is damaged"):
        Surgery.from_json(raw)

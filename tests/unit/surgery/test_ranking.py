"""From scores to widths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from compressor.surgery.ranking import best, widths


@dataclass(frozen=True)
class Group:
    name: str
    width: int
    unit: int = 1
    shape: str = "alike"


def kept(groups, scores, **options) -> dict[str, int]:
    settings = {"share": 0.5, "how": "global", "round_to": 1} | options
    found = widths(groups, scores, **settings)
    return {group.name: len(found.get(group.name, range(group.width))) for group in groups}


FLAT, STEEP = Group("flat", 16), Group("steep", 16)
SCORES = {"flat": np.ones(16), "steep": np.r_[np.full(8, 0.1), np.full(8, 1.9)]}


def test_globally_the_least_important_of_all_go():
    assert kept([FLAT, STEEP], SCORES, share=0.75) == {"flat": 16, "steep": 8}


def test_locally_every_group_keeps_the_same_share():
    rising = {"flat": np.arange(1.0, 17.0), "steep": np.arange(1.0, 17.0) ** 3}

    assert kept([FLAT, STEEP], rising, how="local") == {"flat": 8, "steep": 8}


def test_a_group_of_larger_numbers_has_no_advantage():
    same = {"flat": np.arange(1.0, 17.0), "steep": 1000 * np.arange(1.0, 17.0)}

    assert kept([FLAT, STEEP], same) == {"flat": 8, "steep": 8}


def test_isomorphic_ranking_compares_layers_alike_only():
    other = Group("other", 16, shape="other")
    scores = SCORES | {"other": np.r_[np.full(12, 0.01), np.full(4, 4.0)]}

    assert kept([FLAT, STEEP, other], scores, how="isomorphic", share=0.75)["flat"] == 16
    assert kept([FLAT, STEEP, other], scores, how="isomorphic", share=0.25)["other"] == 4


@pytest.mark.parametrize("share", [0.0, 0.3, 0.55, 0.9, 1.0])
def test_widths_are_multiples_of_eight_where_a_group_is_that_wide(share):
    generator = np.random.default_rng(0)
    groups = [Group("a", 64), Group("b", 20), Group("c", 6)]
    found = kept(groups, {group.name: generator.random(group.width) for group in groups}, share=share, round_to=8)

    assert found["a"] % 8 == 0
    assert found["b"] in (8, 16, 20)
    assert found["c"] == 6


def test_heads_of_many_channels_are_rounded_by_the_head():
    assert kept([Group("heads", 6, unit=64)], {"heads": np.arange(6.0)}, round_to=8) == {"heads": 3}


def test_something_of_every_group_stays():
    assert kept([FLAT], SCORES, share=0.0) == {"flat": 2}


def test_everything_stays_when_all_is_asked_for():
    assert widths([FLAT, STEEP], SCORES, share=1.0, how="global", round_to=8) == {}


def test_the_best_are_the_largest_in_their_order():
    assert best(np.array([0.5, 3.0, 0.1, 2.0]), 2).tolist() == [1, 3]


def test_of_equal_scores_as_many_stay_as_are_asked_for_and_in_the_same_share_of_each_group():
    wide, narrow = Group("wide", 32), Group("narrow", 8)
    scores = {"wide": np.ones(32), "narrow": np.full(8, 5.0)}

    assert kept([wide, narrow], scores, share=0.5) == {"wide": 16, "narrow": 4}
    assert kept([wide, narrow], scores, share=0.25) == {"wide": 8, "narrow": 2}

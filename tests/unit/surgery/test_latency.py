"""A plan gives up what saves the most time for the least importance."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from compressor.surgery.latency import LatencyTable, plan, steps_of


@dataclass(frozen=True)
class Group:
    name: str
    width: int
    unit: int = 1
    shape: str = "alike"


WIDE, NARROW = Group("wide", 64), Group("narrow", 16)
ALIKE = {"wide": np.ones(64), "narrow": np.ones(16)}


def table(**saved: dict[int, float]) -> LatencyTable:
    return LatencyTable(saved)


def test_between_measured_widths_the_saving_is_linear():
    saved = table(wide={64: 0.0, 32: 4.0, 16: 5.0})

    assert saved.saving("wide", 48) == pytest.approx(2.0)
    assert saved.saving("wide", 24) == pytest.approx(4.5)
    assert saved.saving("wide", 64) == 0.0


def test_a_narrower_group_never_counts_as_slower_than_a_wider_one():
    noisy = table(wide={64: 0.0, 48: 3.0, 32: 2.0, 16: 6.0})

    assert noisy.saving("wide", 32) == 3.0
    assert noisy.saving("wide", 48) == 3.0


def test_a_cut_that_saves_nothing_is_never_planned():
    useless = table(wide={64: 0.0, 48: -0.1, 32: 0.0, 16: 0.0}, narrow={16: 0.0, 8: 1.0})

    keep = plan([WIDE, NARROW], ALIKE, useless, save_ms=0.9, round_to=8)

    assert list(keep) == ["narrow"]
    assert len(keep["narrow"]) == 8


def test_the_group_that_saves_more_for_its_importance_is_cut_first():
    both = table(wide={64: 0.0, 32: 4.0}, narrow={16: 0.0, 8: 4.0})
    dear = {"wide": np.r_[np.full(32, 0.001), np.full(32, 2.0)], "narrow": np.ones(16)}

    keep = plan([WIDE, NARROW], dear, both, save_ms=3.9, round_to=8)

    assert list(keep) == ["wide"]


def test_the_least_important_units_go():
    scores = {"narrow": np.arange(16, dtype=float)[::-1]}

    keep = plan([NARROW], scores, table(narrow={16: 0.0, 8: 1.0}), save_ms=1.0, round_to=8)

    assert keep["narrow"].tolist() == list(range(8))


def test_widths_are_multiples_of_what_they_are_rounded_to():
    keep = plan([WIDE], ALIKE, table(wide={64: 0.0, 8: 7.0}), save_ms=2.2, round_to=8)

    assert len(keep["wide"]) % 8 == 0


def test_a_plan_that_cannot_save_enough_saves_what_can_be_saved():
    keep = plan([NARROW], ALIKE, table(narrow={16: 0.0, 8: 1.0}), save_ms=100.0, round_to=8)

    assert len(keep["narrow"]) == 8


def test_heads_are_stepped_by_as_many_as_fill_the_rounding():
    assert steps_of(Group("heads", 12, unit=64), round_to=8, least=0.1) == list(range(2, 13))
    assert steps_of(Group("small", 6), round_to=8, least=0.1) == [6]
    assert steps_of(Group("wide", 32), round_to=8, least=0.3) == [16, 24, 32]
    assert steps_of(Group("threes", 20, unit=3), round_to=8, least=0.1) == [8, 16, 20]
    assert steps_of(Group("narrow threes", 6, unit=3), round_to=8, least=0.1) == [2, 4, 6]


def test_a_table_is_the_same_when_it_is_read_again():
    measured = table(wide={64: 0.0, 8: 7.0})

    assert LatencyTable.from_plain(json.loads(json.dumps(measured.saved_ms))) == measured

"""The widest network that is as small, or as fast, as asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from compressor.surgery import aim
from compressor.surgery.criteria.l1 import L1
from compressor.surgery.cut import Prunable


@pytest.fixture
def prunable() -> Prunable:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 4),
    )  # fmt: skip
    return Prunable(network.eval(), torch.randn(2, 3, 8, 8))


def parameters(module: nn.Module) -> float:
    return float(sum(each.numel() for each in module.parameters()))


def by_cost(prunable: Prunable, want: float) -> aim.Cut:
    return aim.by_cost(prunable, prunable.score(L1()), want=want, cost=parameters, how="global", round_to=8)


def test_the_cut_costs_no_more_than_wanted_and_not_much_less(prunable):
    whole = parameters(prunable.cut({}))

    cut = by_cost(prunable, 0.5 * whole)

    assert cut.met
    assert 0.35 * whole < cut.reached <= 0.5 * whole
    assert parameters(cut.module) == cut.reached


def test_what_cannot_be_reached_is_said_and_the_narrowest_is_given(prunable):
    cut = by_cost(prunable, 10.0)

    assert not cut.met
    assert {name: len(kept) for name, kept in cut.keep.items()} == {"0": 8, "2": 8}


def test_when_all_may_stay_all_stays(prunable):
    assert by_cost(prunable, 1e9).keep == {}


class Clock:
    """Times that follow from widths: a fixed part, and each layer its own."""

    def __init__(self, *, fixed: float = 1.0, first: float = 0.02, second: float = 0.05) -> None:
        self.fixed, self.first, self.second = fixed, first, second
        self.asked = 0

    def __call__(self, modules):
        self.asked += len(modules)
        return {name: self.of(module) for name, module in modules.items()}

    def of(self, module) -> float:
        return self.fixed + self.first * module[0].out_channels + self.second * module[2].out_channels


def test_a_table_says_what_each_width_saves(prunable):
    clock = Clock()
    table = aim.measure_table(prunable, times=clock, now_ms=clock.of(prunable.cut({})), round_to=8)

    assert table.saving("0", 16) == pytest.approx(0.02 * 16)
    assert table.saving("2", 40) == pytest.approx(0.05 * 24)


def test_a_wanted_time_is_reached_by_measuring_what_the_plan_gives(prunable):
    clock = Clock()
    now = clock.of(prunable.cut({}))
    table = aim.measure_table(prunable, times=clock, now_ms=now, round_to=8)

    cut = aim.by_latency(prunable, prunable.score(L1()), table, want_ms=0.6 * now, now_ms=now, times=clock, round_to=8)

    assert cut.met
    assert clock.of(cut.module) == cut.reached
    assert 0.5 * now < cut.reached <= aim.CLOCK * 0.6 * now


def test_a_table_that_promised_too_much_is_corrected(prunable):
    """The clock saves half of what the table says; the second try asks for more."""
    honest, now = Clock(), Clock().of(prunable.cut({}))
    table = aim.measure_table(prunable, times=Clock(first=0.04, second=0.1), now_ms=2 * now - 1, round_to=8)

    cut = aim.by_latency(prunable, prunable.score(L1()), table, want_ms=0.7 * now, now_ms=now, times=honest, round_to=8)

    assert cut.tried > 1
    assert cut.met


def test_layers_alike_share_what_they_save_together():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    )  # fmt: skip
    prunable = Prunable(network.eval(), torch.randn(2, 16, 8, 8))

    def times(modules):
        return {name: float(module[0].out_channels + module[2].out_channels) for name, module in modules.items()}

    table = aim.measure_table(prunable, times=times, now_ms=32.0, round_to=8)

    assert table.saving("0", 8) == pytest.approx(8.0)
    assert table.saving("2", 8) == pytest.approx(8.0)
    assert np.isclose(table.saving("4", 8), 0.0)

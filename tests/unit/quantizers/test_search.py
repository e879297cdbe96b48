"""The search reverts what is slow, then what harms, and stops when the metric will do."""

from __future__ import annotations

import pytest

from compressor.measure.statistics import Interval
from compressor.quantizers import _sensitivity
from compressor.quantizers._search import search

LAYERS = ("a", "b", "c", "d")


class World:
    """Layers with what quantizing each saves and costs, added up."""

    def __init__(self, *, gain=None, cost=None) -> None:
        self.gain = dict.fromkeys(LAYERS, 1.0) | (gain or {})
        self.cost = dict.fromkeys(LAYERS, 0.0) | (cost or {})
        self.looked_at: list[frozenset[str]] = []
        self.harms_measured = 0

    def metric(self, kept: frozenset[str]) -> float:
        self.looked_at.append(kept)
        return 0.9 - sum(cost for layer, cost in self.cost.items() if layer not in kept)

    def time(self, kept: frozenset[str]) -> float:
        return 10 - sum(gain for layer, gain in self.gain.items() if layer not in kept)

    def faster(self, before, after) -> Interval:
        ratio = self.time(before) / self.time(after)
        return Interval(ratio, ratio * 0.99, ratio * 1.01)

    def worst_first(self, kept):
        self.harms_measured += 1
        return _sensitivity.worst_first({k: v for k, v in self.cost.items() if k not in kept}, self.gain)

    def found(self, lowest: float | None = None, *, between=()):
        return search(
            LAYERS,
            gain_ms=self.gain,
            float_ms=10.0,
            metric=self.metric,
            faster=self.faster,
            worst_first=self.worst_first,
            lowest=lowest,
            between=between,
        )


def test_where_all_is_well_everything_is_quantized():
    found = World().found(lowest=0.89)

    assert found.keep_float == frozenset()
    assert found.within


def test_layers_that_are_slower_quantized_go_back():
    found = World(gain={"b": -2.0}).found()

    assert found.keep_float == {"b"}
    assert found.steps[-1].kept


def test_a_layer_that_only_the_profile_calls_slow_stays_quantized():
    world = World(gain={"b": -2.0})
    world.time = lambda kept: 5.0  # measured as a whole, it makes no difference

    found = world.found()

    assert found.keep_float == frozenset()
    assert not found.steps[-1].kept


def test_the_most_harmful_layer_for_its_time_goes_back_first():
    found = World(cost={"a": 0.02, "c": 0.02}, gain={"a": 4.0, "c": 1.0}).found(lowest=0.875)

    assert found.keep_float == {"c"}
    assert found.within


def test_it_stops_as_soon_as_the_metric_will_do():
    world = World(cost=dict.fromkeys(LAYERS, 0.01))
    found = world.found(lowest=0.88)

    assert len(found.keep_float) == 2
    assert found.metric == pytest.approx(0.88)


def test_a_reversal_that_does_not_help_is_undone():
    world = World(cost={"a": 0.03, "b": 0.001})
    real = world.metric
    world.metric = lambda kept: real(kept - {"a"})  # going back with a changes nothing

    found = world.found(lowest=0.9)

    assert "a" not in found.keep_float
    assert not found.within
    assert ("a",) in [step.reverted for step in found.steps if not step.kept]


def test_layers_that_only_help_together_go_back_together():
    world = World(cost={"a": 0.03, "b": 0.02})
    world.metric = lambda kept: 0.9 if {"a", "b"} <= kept else 0.8

    found = world.found(lowest=0.895)

    assert found.keep_float == {"a", "b"}
    assert (found.within, found.metric) == (True, 0.9)
    assert [step.kept for step in found.steps[-3:]] == [True, True, False]
    assert world.harms_measured == 1, "each measures every layer anew"


def test_what_nothing_but_the_float_model_keeps_to_ends_as_the_float_model():
    world = World(cost={"a": 0.03})
    world.metric = lambda kept: 0.9 if kept == set(LAYERS) else 0.8

    found = world.found(lowest=0.895)

    assert (found.keep_float, found.within) == (set(LAYERS), True)


def test_without_a_limit_accuracy_is_not_searched_for():
    world = World(cost={"a": 0.5})
    world.found()

    assert world.looked_at == [frozenset()]


def test_layers_that_harm_nobody_are_not_reverted():
    assert _sensitivity.worst_first({"a": 0.0, "b": -0.1, "c": 0.2}, {}) == ["c"]


def test_what_lies_between_layers_goes_back_where_no_layer_helps():
    world = World()
    world.metric = lambda kept: 0.9 if "softmax" in kept else 0.5
    found = world.found(lowest=0.89, between=("add", "softmax"))

    assert (found.keep_float, found.within) == ({"add", "softmax"}, True)
    assert found.steps[-1].why == "what lies between layers harms the answers"

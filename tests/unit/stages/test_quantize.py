"""Whether a quantized model ships is decided by the interval of its speed-up and by its size."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from compressor.measure.statistics import Interval
from compressor.recipe import QuantizeSettings
from compressor.report import lineage
from compressor.scores import Metric
from compressor.stages.quantize import _Quantizing, worth


@pytest.mark.parametrize(
    ("ratio", "low", "high", "times_smaller", "found"),
    [
        (1.6, 1.5, 1.7, 3.9, "speed"),
        (1.3, 1.0, 1.6, 0.9, "speed"),
        (1.02, 0.97, 1.06, 3.9, "size"),
        (1.02, 0.97, 1.06, 1.0, "nothing"),
        (0.99, 0.95, 1.0, 3.9, "size"),
        (0.92, 0.83, 1.05, 3.9, "may be slower"),
        (1.3, 0.83, 1.9, 3.9, "may be slower"),
        (0.98, 0.97, 0.99, 3.9, "is slower"),
        (0.82, 0.80, 0.85, 3.9, "is slower"),
    ],
)
def test_what_a_quantized_model_is_worth(ratio, low, high, times_smaller, found):
    assert worth(Interval(ratio, low, high), times_smaller=times_smaller) == found


def verdict(*, drop: float, **settings) -> tuple[bool, str]:
    """On 1 000 samples, of a model that is twice as fast and four times smaller."""
    job = SimpleNamespace(
        settings=QuantizeSettings(**settings),
        checked=range(1000),
        layers=[{"float": False}],
        is_for_here=True,
        cpu=SimpleNamespace(name="x86-avx2"),
        task=SimpleNamespace(primary="accuracy"),
        _metric=Metric("accuracy"),
        _half_a_sample=0.05,
        _times_smaller=4.0,
    )
    return _Quantizing._verdict(job, drop=drop, speedup=Interval(2.0, 1.9, 2.1))


def test_int8_that_ruins_the_network_does_not_ship_where_no_drop_is_stated():
    ships, why = verdict(drop=67.2)

    assert not ships
    assert "costs more than 10 points, state --max-drop to look for a better one" in why
    assert verdict(drop=9.0)[0]


def test_a_stated_drop_is_the_limit_and_all_ships_whatever_it_costs():
    assert verdict(drop=15.0, max_drop=20.0)[0]
    assert not verdict(drop=1.0, max_drop=0.5)[0]
    assert verdict(drop=67.2, mixed=False)[0]


@pytest.mark.parametrize(("kept_for", "found"), [("size", True), ("speed", False), (None, False)])
def test_the_report_finds_what_a_quantized_model_is_kept_for(kept_for, found):
    quantized = SimpleNamespace(manifest=SimpleNamespace(details={"quantization": {"kept_for": kept_for}}))
    trained = SimpleNamespace(manifest=SimpleNamespace(details={}))

    assert lineage.kept_for_its_size((trained, quantized)) == found

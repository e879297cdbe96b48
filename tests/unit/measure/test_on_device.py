"""What a pack says on a device of what it measured there."""

from __future__ import annotations

from typing import Any

import pytest

from compressor.measure.on_device import summary
from compressor.measure.record import Accuracy, Device, Majority, Speedup
from compressor.scores import Metric
from tests import records


def measured(*, speedup: Speedup | None = None, p_value: float = 1e-9) -> Device:
    """What a device measured of one student."""
    judged = Accuracy(
        "ort_cpu",
        "test",
        100,
        {"accuracy": 0.9},
        primary="accuracy",
        metric=Metric("accuracy"),
        majority=Majority(0.5, "cat", model_only=9, constant_only=1, p_value=p_value),
    )
    return Device(
        name="board",
        run="r",
        pack="0",
        created="2026-01-01",
        machine={"cpu": "A53", "architecture": "aarch64", "isa": ["neon"]},
        versions={},
        models={},
        timings=(records.timing("student", speedup=speedup),),
        interference=(),
        accuracy={"student": judged},
        parity={"student": {"agreement": 1.0}},
    )


@pytest.mark.parametrize(
    ("ends", "words"), [((1.5, 2.5), "2.00x (1.50-2.50)"), ((None, None), "2.00x (one start)")], ids=["five", "one"]
)
def test_a_speedup_has_an_interval_where_there_was_more_than_one_start(ends: tuple[Any, Any], words: str) -> None:
    assert words in summary(measured(speedup=Speedup(2.0, *ends, "teacher")))


@pytest.mark.parametrize(("p_value", "said"), [(0.049, False), (0.05, True), (1.0, True)])
def test_a_model_at_chance_on_the_carried_samples_is_called_so(p_value: float, said: bool) -> None:
    assert ("at chance on these samples: student" in summary(measured(p_value=p_value))) is said

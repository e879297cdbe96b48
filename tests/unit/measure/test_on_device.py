"""What a pack says on a device of what it measured there."""

from __future__ import annotations

from typing import Any

import pytest

from compressor.measure.on_device import summary


def measured(*, speedup: dict[str, Any] | None = None, p_value: float = 1e-9) -> dict[str, Any]:
    """The content of `device.json`, as far as a summary reads it."""
    majority = {"metric": 0.5, "answer": "cat", "model_only": 9, "constant_only": 1, "p_value": p_value}
    metric = {"name": "accuracy", "unit": "%", "larger_is_better": True}
    judged = {
        "primary": "accuracy",
        "metric": metric,
        "metrics": {"accuracy": 0.9},
        "samples": 100,
        "majority": majority,
    }
    timed = {"profile": "edge", "role": "student", "p50_ms": 1.0, "p90_ms": 1.1, "speedup": speedup}
    return {
        "name": "board",
        "machine": {"cpu": "A53", "architecture": "aarch64", "isa": ["neon"]},
        "timings": [timed],
        "accuracy": {"student": judged},
        "parity": {"student": {"agreement": 1.0}},
        "interference": [],
    }


@pytest.mark.parametrize(
    ("ends", "words"), [((1.5, 2.5), "2.00x (1.50-2.50)"), ((None, None), "2.00x (one start)")], ids=["five", "one"]
)
def test_a_speedup_has_an_interval_where_there_was_more_than_one_start(ends: tuple[Any, Any], words: str) -> None:
    assert words in summary(measured(speedup={"ratio": 2.0, "low": ends[0], "high": ends[1], "against": "teacher"}))


@pytest.mark.parametrize(("p_value", "said"), [(0.049, False), (0.05, True), (1.0, True)])
def test_a_model_at_chance_on_the_carried_samples_is_called_so(p_value: float, said: bool) -> None:
    assert ("at chance on these samples: student" in summary(measured(p_value=p_value))) is said

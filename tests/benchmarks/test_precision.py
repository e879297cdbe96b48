"""What the benchmark of precision claims, and that it measures a real step."""

from __future__ import annotations

from benchmarks import precision


def measured(auto: str, ratio: float) -> dict:
    return {"auto": auto, "speedup": {"median": ratio}}


def test_the_choice_holds_when_it_is_the_faster_one():
    found = precision.claims(
        {
            "taken": measured("bf16-mixed", 1.5),
            "taken in vain": measured("bf16-mixed", 0.9),
            "left": measured("32-true", 0.6),
            "left in vain": measured("32-true", 1.5),
        }
    )

    assert [claim.holds for claim in found] == [True, False, True, False]


def test_a_network_is_trained_in_both_precisions():
    found = precision.compare("resnet8", rounds=1)

    assert found["speedup"]["low"] == found["speedup"]["median"] == found["speedup"]["high"] > 0
    assert found["why"]

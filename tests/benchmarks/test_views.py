"""What the benchmark of views claims of made-up accuracies."""

from __future__ import annotations

from benchmarks import views


def test_few_views_hold_when_they_lose_less_than_seeds_differ_by():
    accuracy = {30: [70.0, 71.0, 72.0], 8: [70.0, 70.5, 71.0], 2: [60.0, 61.0, 62.0]}
    two, eight = views.claims(accuracy, epochs=30)
    assert eight.holds
    assert not two.holds
    assert two.value == -10

"""The arithmetic of the peers benchmark, on made-up runs; the contenders themselves run in `make test-slow`."""

from __future__ import annotations

import pytest

from benchmarks.peers import training

IMAGES = 45_000 // 128 * 128


def peer(rate: float, *, start_s: float, steps: int = 100) -> dict:
    return {
        "blocks_images_per_s": [rate / 3, rate, rate, rate],
        "steps": steps,
        "wall_s": start_s + steps * 128 / rate,
    }


def ours(*rates: float, other_s: float = 0.0, asked: int = 0) -> dict:
    wall_s = other_s + sum(IMAGES / rate for rate in rates)
    return {"images_per_s": list(rates), "epochs": len(rates), "wall_s": wall_s, "asked": asked}


def runs(**changes) -> dict:
    return {
        "usual_loop": [peer(300, start_s=5), peer(300, start_s=5)],
        "with_torchdistill": [peer(320, start_s=6), peer(320, start_s=6)],
        "ours": ours(300, 400, 2400, 2400, other_s=10),
        "alone": ours(1000, 2500, 2500),
        "warm": ours(1000, 2450, 2450),
    } | changes


def holds(claims, about: str) -> bool:
    (found,) = [claim for claim in claims if about in claim.claim]
    return found.holds


def test_a_peer_takes_its_start_and_its_epochs():
    assert training.peer_run_s(runs()["usual_loop"], epochs=30) == pytest.approx(5 + 30 * IMAGES / 300)


def test_ours_takes_its_start_its_compiling_its_filling_and_its_reading():
    compiling_s = IMAGES / 300 - IMAGES / 400
    expected = 10 + compiling_s + 8 * IMAGES / 400 + 22 * IMAGES / 2400
    assert training.whole_run_s(runs()["ours"], views=8, epochs=30) == pytest.approx(expected)


def test_goals_that_are_reached_hold():
    claims = training.speed_claims("resnet8", runs(), 30)
    assert holds(claims, "steady images per second against the usual loop")
    assert holds(claims, "warm teacher cache against training alone")
    assert holds(claims, "second run with another temperature")


def test_goals_that_are_missed_do_not():
    slow = runs(warm=ours(1000, 2000, 2000, asked=1), ours=ours(300, 400, 1200, 1200))
    claims = training.speed_claims("resnet8", slow, 30)
    assert not holds(claims, "steady images per second against the usual loop")
    assert not holds(claims, "wall time against the usual loop")
    assert not holds(claims, "warm teacher cache against training alone")
    assert not holds(claims, "second run with another temperature")


def test_the_goal_is_that_of_the_student():
    claims = training.speed_claims("resnet20", runs(ours=ours(300, 400, 1600, 1600)), 30)
    assert holds(claims, "steady images per second against the usual loop")  # 5.3 times, where ResNet-8 needs 8


def test_accuracy_is_compared_by_the_mean_over_seeds():
    def trained(*accuracies: float) -> list[dict]:
        return [{"test_accuracy": accuracy, "epochs": 3} for accuracy in accuracies]

    claims = training.accuracy_claims(
        "resnet8",
        {
            "usual_loop": trained(70, 72),
            "with_torchdistill": trained(73, 75),
            "ours": trained(70.6, 72.6),
            "alone": trained(1, 2),
        },
    )
    assert [claim.holds for claim in claims] == [True, False]
    assert claims[0].value == pytest.approx(0.6)

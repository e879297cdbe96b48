"""Runs that are past saving."""

from __future__ import annotations

import pytest

from compressor.errors import DivergenceError
from compressor.training.health import Health


def _repeat(health: Health, parts: dict[str, float], *, times: int) -> None:
    for step in range(times):
        health.check(parts, step=step, lr=0.1, suspects={})


def test_a_falling_loss_is_healthy():
    health = Health()
    for step in range(50):
        health.check({"kd": 3.0 / (step + 1)}, step=step, lr=0.1, suspects={})


def test_nan_names_the_part_the_step_and_a_smaller_learning_rate():
    with pytest.raises(DivergenceError, match="loss 'kd' is nan at step 7") as caught:
        Health().check({"hard": 1.0, "kd": float("nan")}, step=7, lr=0.3, suspects={})
    assert "--lr 0.1" in caught.value.hint


def test_nan_from_the_teacher_is_blamed_on_the_teacher():
    with pytest.raises(DivergenceError, match="the teacher's logits are not finite") as caught:
        Health().check({"kd": float("inf")}, step=0, lr=0.1, suspects={"the teacher's logits": True})
    assert "compress evaluate" in caught.value.hint


def test_an_exploding_loss_stops_the_run():
    health = Health()
    health.check({"kd": 1.0}, step=0, lr=0.1, suspects={})
    with pytest.raises(DivergenceError, match="exploded"):
        _repeat(health, {"kd": 1000.0}, times=200)


def test_a_loss_that_is_warmed_up_has_not_exploded():
    health = Health()
    for step in range(200):
        health.check({"dkd": 0.4 * step}, step=step, lr=0.1, suspects={}, changing=True)


def test_a_loss_that_grows_after_its_warm_up_has():
    health = Health()
    health.check({"dkd": 0.1}, step=0, lr=0.1, suspects={}, changing=True)
    health.check({"dkd": 1.0}, step=1, lr=0.1, suspects={})
    with pytest.raises(DivergenceError, match="exploded"):
        _repeat(health, {"dkd": 1000.0}, times=200)


def test_a_single_bad_batch_does_not_stop_the_run():
    health = Health()
    for step in range(100):
        health.check({"kd": 8.0 if step == 50 else 1.0}, step=step, lr=0.1, suspects={})

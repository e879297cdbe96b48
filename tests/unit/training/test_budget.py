"""Batch and epochs where nobody says."""

from __future__ import annotations

from typing import Any

import pytest

from compressor.data.open import open_dataset
from compressor.recipe import (
    DataSettings,
    DistillSettings,
    PruneSettings,
    QuantizeSettings,
    SpecialistSettings,
    TrainingSettings,
    TrainSettings,
)
from compressor.training.budget import settle, steps_in_an_epoch

COUNTS = (1, 2, 15, 16, 17, 159, 160, 179, 199, 319, 320, 639, 640, 1279, 1280, 5000, 60_000, 1_281_167)


def budget(num_samples: int, settings: TrainingSettings | None = None) -> tuple[int, int]:
    """Batch and epochs."""
    settled, _ = settle(settings or TrainSettings(), num_samples=num_samples)
    assert settled.batch_size != "auto"
    assert settled.epochs != "auto"
    return settled.batch_size, settled.epochs


@pytest.mark.parametrize("num_samples", COUNTS)
def test_any_number_of_samples_comes_to_some_hundred_steps(num_samples: int) -> None:
    batch, epochs = budget(num_samples)

    assert epochs * steps_in_an_epoch(num_samples, batch) >= 300
    assert 16 <= batch <= 128
    assert epochs >= 30


@pytest.mark.parametrize(
    ("num_samples", "expected"),
    [
        (16, (16, 300)),
        (159, (16, 34)),
        (160, (16, 30)),
        (199, (16, 30)),
        (320, (32, 30)),
        (1279, (64, 30)),
        (1280, (128, 30)),
    ],
)
def test_few_samples_are_shown_in_small_batches_and_often(num_samples: int, expected: tuple[int, int]) -> None:
    assert budget(num_samples) == expected


@pytest.mark.parametrize(("optimizer", "rate"), [("adamw", 1e-3), ("sgd", 0.1)])
def test_a_batch_that_is_small_for_the_steps_keeps_the_common_rate(optimizer: str, rate: float) -> None:
    settled, chosen = settle(TrainSettings(optimizer=optimizer), num_samples=179)

    assert (settled.batch_size, settled.lr) == (16, rate)
    assert [decision.what for decision in chosen] == ["batch_size", "epochs", "lr"]


@pytest.mark.parametrize("stated", [{"batch_size": 16}, {"lr": 0.02}])
def test_what_is_stated_of_batch_or_rate_decides_the_rate(stated: dict[str, Any]) -> None:
    settled, _ = settle(TrainSettings(**stated), num_samples=179)

    assert settled.lr == stated.get("lr", "auto")


def test_the_demo_trains_as_it_always_has() -> None:
    dataset = open_dataset(DataSettings(source="digits"))
    settled, chosen = settle(DistillSettings(epochs=40), num_samples=len(dataset.train))

    assert (settled.batch_size, settled.epochs) == (128, 40)
    assert [decision.what for decision in chosen] == ["batch_size"]


def test_what_is_stated_is_taken_without_a_word() -> None:
    stated = TrainSettings(epochs=1, batch_size=128)

    assert settle(stated, num_samples=199) == (stated, ())


def test_a_large_batch_that_is_stated_is_shown_more_often() -> None:
    assert budget(199, TrainSettings(batch_size=128)) == (128, 300)


def test_every_choice_says_why() -> None:
    _, chosen = settle(TrainSettings(), num_samples=100)

    assert {decision.what: decision.choice for decision in chosen} == {
        "batch_size": "16",
        "epochs": "50",
        "lr": "0.001",
    }
    assert "6 steps an epoch of 100 samples" in chosen[0].reason
    assert "300 steps" in chosen[1].reason


@pytest.mark.parametrize("num_samples", COUNTS)
def test_a_control_has_the_budget_of_its_student(num_samples: int) -> None:
    assert budget(num_samples, TrainSettings()) == budget(num_samples, DistillSettings(control=True))


@pytest.mark.parametrize(
    ("settings", "epochs"), [(PruneSettings(), 10), (QuantizeSettings(), 3), (SpecialistSettings(), 5)]
)
def test_a_recovery_has_epochs_of_its_own_and_the_same_batch(settings: TrainingSettings, epochs: int) -> None:
    assert budget(199, settings) == (16, epochs)


def test_settling_twice_is_settling_once() -> None:
    once, _ = settle(TrainSettings(), num_samples=199)

    assert settle(once, num_samples=10**6) == (once, ())

"""Normalisations by name and by number."""

from __future__ import annotations

import pytest

from compressor.errors import ModelError
from compressor.models import normalisation

STATISTICS = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("data", STATISTICS[0], STATISTICS[1]),
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("half", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("none", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ],
)
def test_a_name_gives_its_numbers(name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    found = normalisation.named(name, channels=3, statistics=STATISTICS)

    assert (found.name, found.mean, found.std) == (name, mean, std)


def test_imagenet_needs_three_channels() -> None:
    with pytest.raises(ModelError, match="needs 3 channels, the data has 1 — use 'data'"):
        normalisation.named("imagenet", channels=1, statistics=((0.1,), (0.2,)))


def test_stated_numbers_are_taken() -> None:
    assert normalisation.stated([0.1], [0.2], channels=1) == normalisation.Normalisation("stated", (0.1,), (0.2,))


@pytest.mark.parametrize(("mean", "std"), [([0.1], [0.2, 0.2]), ([0.1, 0.1], [0.2]), ([], [])])
def test_numbers_must_fit_the_channels(mean: list[float], std: list[float]) -> None:
    with pytest.raises(ModelError, match=f"{len(mean)} means and {len(std)} standard deviations for 1 channels"):
        normalisation.stated(mean, std, channels=1)


@pytest.mark.parametrize("std", [0.0, -0.5, float("nan")])
def test_a_deviation_must_be_positive(std: float) -> None:
    with pytest.raises(ModelError, match=f"a standard deviation of {std} is not positive"):
        normalisation.stated([0.1], [std], channels=1)


def test_it_reads_with_its_numbers() -> None:
    assert str(normalisation.stated([0.12344], [0.5], channels=1)) == "stated (mean 0.1234; std 0.5)"
    assert str(normalisation.named("none", channels=1, statistics=((0.0,), (1.0,)))) == "none"

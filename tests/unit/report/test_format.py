"""Tests of `compressor.report.format`."""

from __future__ import annotations

import pytest

from compressor.report import format as fmt


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0512, "0.0512 ms"), (1.926, "1.93 ms"), (9.996, "10.0 ms"), (123.4, "123 ms"), (1234.0, "1,230 ms")],
)
def test_milliseconds_have_three_significant_digits(value: float, shown: str) -> None:
    assert fmt.milliseconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(512, "512 B"), (50_300, "50.3 kB"), (3_630_000, "3.63 MB"), (2e9, "2.00 GB")]
)
def test_sizes_are_decimal(value: float, shown: str) -> None:
    assert fmt.size(value) == shown


def test_ratio_shows_its_interval() -> None:
    assert fmt.ratio(5.312, low=5.241, high=5.379) == "5.31× (5.24–5.38)"


def test_ratio_without_interval_stands_alone() -> None:
    assert fmt.ratio(5.312) == "5.31×"


def test_points_carry_their_sign_unless_they_round_to_zero() -> None:
    assert [fmt.points(0.0185), fmt.points(-0.004), fmt.points(-0.00001)] == [
        "+1.85 points",
        "−0.40 points",
        "0.00 points",
    ]


def test_percent_shows_two_decimals() -> None:
    assert fmt.percent(0.9741) == "97.41 %"


@pytest.mark.parametrize(
    "show", [fmt.percent, fmt.points, fmt.milliseconds, fmt.size, fmt.ratio, fmt.count, fmt.duration]
)
def test_what_was_not_measured_is_a_dash(show: object) -> None:
    assert callable(show)
    assert show(None) == show(float("nan")) == "–"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (999, "999"),
        (9_999, "9,999"),
        (10_314, "10.3 k"),
        (9_812_000, "9.81 M"),
        (0.4, "0.400"),
        (1.62, "1.62"),
        (7, "7"),
    ],
)
def test_large_numbers_are_shortened_and_small_ones_keep_their_fraction(value: float, shown: str) -> None:
    assert fmt.magnitude(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.42, "0.42 s"), (41.3, "41 s"), (200, "3 min 20 s"), (3725, "1 h 02 min")]
)
def test_durations_use_the_unit_people_would(value: float, shown: str) -> None:
    assert fmt.duration(value) == shown


@pytest.mark.parametrize(
    ("interval", "shown"), [((0.9124, 0.9231), "91.2–92.3 %"), ((0.99951, 0.99972), "99.95–99.97 %"), (None, "–")]
)
def test_a_narrow_interval_is_not_rounded_past_its_value(interval: tuple[float, float] | None, shown: str) -> None:
    assert fmt.percent_range(interval) == shown


@pytest.mark.parametrize(
    ("threads", "batch", "shown"),
    [(1, 1, "1 thread, batch 1"), (0, 32, "all cores, batch 32"), (4, 8, "4 threads, batch 8")],
)
def test_conditions_are_told_in_words(threads: int, batch: int, shown: str) -> None:
    assert fmt.conditions(threads, batch) == shown

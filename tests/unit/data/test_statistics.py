"""Mean and deviation per channel."""

import numpy as np
import pytest

from compressor.data.samples import ArraySamples
from compressor.data.statistics import SMALLEST_STD, channel_statistics


def test_pixels_are_counted_in_units_of_zero_to_one():
    pixels = np.random.default_rng(0).integers(0, 256, (700, 3, 5, 4), dtype=np.uint8)

    mean, deviation = channel_statistics(ArraySamples(pixels, np.zeros(700, int)))

    assert mean == pytest.approx((pixels / 255).mean(axis=(0, 2, 3)))
    assert deviation == pytest.approx((pixels / 255).std(axis=(0, 2, 3)))


def test_vectors_have_statistics_for_each_feature_without_loss_far_from_zero():
    vectors = np.random.default_rng(0).normal([0, 10, 1000, 1e5], size=(600, 4)).astype(np.float32)

    mean, deviation = channel_statistics(ArraySamples(vectors, np.zeros(600, int)))

    assert mean == pytest.approx(vectors.astype(float).mean(axis=0))
    assert deviation == pytest.approx(vectors.astype(float).std(axis=0))


def test_a_channel_that_never_changes_has_no_deviation_of_zero():
    _, deviation = channel_statistics(ArraySamples(np.full((9, 2), 3, np.float32), np.zeros(9, int)))

    assert deviation == (SMALLEST_STD, SMALLEST_STD)


def test_samples_looked_at_are_spread_over_the_whole_set():
    ramp = np.arange(1001, dtype=np.float32)[:, None]

    mean, _ = channel_statistics(ArraySamples(ramp, np.zeros(1001, int)), max_samples=11)

    assert mean == (500.0,)

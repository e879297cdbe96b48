"""Mean and deviation per channel."""

import numpy as np
import pytest

from compressor.data.statistics import channel_statistics
from tests.named import class_samples


def test_pixels_are_counted_in_units_of_zero_to_one():
    pixels = np.random.default_rng(0).integers(0, 256, (700, 3, 5, 4), dtype=np.uint8)

    mean, deviation = channel_statistics(class_samples(pixels, np.zeros(700, int)))

    assert mean == pytest.approx((pixels / 255).mean(axis=(0, 2, 3)))
    assert deviation == pytest.approx((pixels / 255).std(axis=(0, 2, 3)))


def test_vectors_have_statistics_for_each_feature_without_loss_far_from_zero():
    vectors = np.random.default_rng(0).normal([0, 10, 1000, 1e5], size=(600, 4)).astype(np.float32)

    mean, deviation = channel_statistics(class_samples(vectors, np.zeros(600, int)))

    assert mean == pytest.approx(vectors.astype(float).mean(axis=0))
    assert deviation == pytest.approx(vectors.astype(float).std(axis=0))


def test_a_feature_that_never_changes_is_not_scaled():
    _, deviation = channel_statistics(class_samples(np.full((9, 2), [3, 0], np.float32), np.zeros(9, int)))

    assert deviation == (1.0, 1.0)


def test_a_feature_in_small_units_is_scaled_all_the_same():
    vectors = np.random.default_rng(0).normal(scale=1e-9, size=(600, 1)).astype(np.float32)

    _, deviation = channel_statistics(class_samples(vectors, np.zeros(600, int)))

    assert deviation == pytest.approx(vectors.astype(float).std(axis=0))


def test_a_rare_feature_is_seen_wherever_it_is():
    vectors = np.zeros((12_000, 1), np.float32)
    vectors[7_001] = 1.0

    _, deviation = channel_statistics(class_samples(vectors, np.zeros(12_000, int)))

    assert deviation == pytest.approx(vectors.astype(float).std(axis=0))


def test_pictures_looked_at_are_spread_over_the_whole_set():
    ramp = np.arange(1001, dtype=np.float32)[:, None, None, None]

    mean, _ = channel_statistics(class_samples(ramp, np.zeros(1001, int)), max_samples=11)

    assert mean == (500.0,)

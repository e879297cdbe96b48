"""Mean and standard deviation per channel: what a network's input normalisation is made of."""

from __future__ import annotations

import numpy as np

from compressor.data.samples import Samples

# A channel that never changes (a blank border, an unused feature) would otherwise be divided by zero.
SMALLEST_STD = 1e-6
_CHUNK = 250


def channel_statistics(samples: Samples, *, max_samples: int = 5000) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel (of each feature, for vectors), over evenly spaced samples.

    Pixels count in 0–1 units, whatever they are stored as. Chunks are merged as in Chan et al. 1983, eq. 2.1, so that
    neither memory nor rounding grows with the number of samples. A deviation is never below 1e-6.

    Args:
        samples: At least one.
        max_samples: How many are looked at.
    """
    assert len(samples) > 0, "statistics of no samples"
    positions = np.unique(np.linspace(0, len(samples) - 1, min(max_samples, len(samples))).round().astype(np.int64))
    count, mean, squares = 0, np.zeros(samples.sample_shape[0]), np.zeros(samples.sample_shape[0])
    for start in range(0, len(positions), _CHUNK):
        inputs = samples.fetch(positions[start : start + _CHUNK])
        values = inputs.astype(np.float64) / (255.0 if inputs.dtype == np.uint8 else 1.0)
        axes = (0, *range(2, values.ndim))
        number = values.size // values.shape[1]
        chunk_mean = values.mean(axis=axes)
        delta = chunk_mean - mean
        squares += values.var(axis=axes) * number + delta**2 * (count * number / (count + number))
        mean += delta * (number / (count + number))
        count += number
    deviation = np.maximum(np.sqrt(squares / count), SMALLEST_STD)
    return tuple(mean.tolist()), tuple(deviation.tolist())

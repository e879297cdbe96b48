"""Mean and standard deviation per channel: what a network's input normalisation is made of."""

from __future__ import annotations

import numpy as np

from compressor.data.samples import Samples
from compressor.inputs._contract import kind_of

_CONSTANT = 1e-7  # of the mean: a smaller deviation is rounding
_CHUNK = 250
_CHUNK_OF_VECTORS = 100_000


def channel_statistics(samples: Samples, *, max_samples: int = 5000) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, over evenly spaced samples; of each feature of vectors, over all of them.

    A feature that hardly ever changes may do so in none of a few thousand samples. Where one never does (a blank border, an
    unused feature) the deviation is 1, since there is nothing to scale, and a sample that differs after all stays in range.

    Pixels count in 0–1 units, whatever they are stored as. Chunks are merged as in Chan et al. 1983, eq. 2.1, so that
    neither memory nor rounding grows with the number of samples.

    Args:
        samples: At least one.
        max_samples: How many are looked at, where samples are no vectors.
    """
    assert len(samples) > 0, "statistics of no samples"
    spec = samples.inputs.only
    assert spec is not None, "statistics of several inputs"
    channels = spec.at({})[0]
    of_columns = kind_of(spec).of_columns
    number = len(samples) if of_columns else min(max_samples, len(samples))
    positions = np.unique(np.linspace(0, len(samples) - 1, number).round().astype(np.int64))
    count, mean, squares = 0, np.zeros(channels), np.zeros(channels)
    chunk = _CHUNK_OF_VECTORS if of_columns else _CHUNK
    for start in range(0, len(positions), chunk):
        inputs = samples.fetch(positions[start : start + chunk])[spec.name]
        values = inputs.astype(np.float64) / (255.0 if inputs.dtype == np.uint8 else 1.0)
        axes = (0, *range(2, values.ndim))
        added = values.size // values.shape[1]
        chunk_mean = values.mean(axis=axes)
        delta = chunk_mean - mean
        squares += values.var(axis=axes) * added + delta**2 * (count * added / (count + added))
        mean += delta * (added / (count + added))
        count += added
    deviation = np.sqrt(squares / count)
    deviation[deviation <= _CONSTANT * np.abs(mean)] = 1.0
    return tuple(mean.tolist()), tuple(deviation.tolist())

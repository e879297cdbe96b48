"""What tells a sample from all others, in whatever order and split it lies: its content, or its place in the source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compressor.data.digests import digests
from compressor.data.relabel import RelabelledSamples, WithoutTargets
from compressor.data.samples import JoinedSamples, Samples, SubsetSamples

KEY_BYTES = 16
_CHUNK = 512


def content_keys(samples: Samples) -> NDArray[np.uint8]:
    """BLAKE2b (16 bytes) of each sample's bytes as its inputs are stored, one after the other: `[N, 16]`."""
    keys = np.empty((len(samples), KEY_BYTES), np.uint8)
    for first in range(0, len(samples), _CHUNK):
        positions = np.arange(first, min(first + _CHUNK, len(samples)), dtype=np.int64)
        keys[positions] = digests(list(samples.fetch(positions).values()), size=KEY_BYTES)
    return keys


def source_places(samples: Samples) -> tuple[NDArray[np.int64], int]:
    """Where each sample stood in the training samples of its source, before any were set apart.

    Returns:
        Places `[N]`, −1 for samples that another source has added; and how many training samples the source has.
    """
    if isinstance(samples, SubsetSamples):
        places, size = source_places(samples.samples)
        return places[samples.positions], size
    if isinstance(samples, RelabelledSamples | WithoutTargets):
        return source_places(samples.samples)
    if isinstance(samples, JoinedSamples):
        places, size = source_places(samples.first)
        return np.concatenate([places, np.full(len(samples.second), -1, np.int64)]), size
    return np.arange(len(samples), dtype=np.int64), len(samples)

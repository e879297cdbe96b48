"""A hash of the content of each sample: what two samples that are alike, byte for byte, have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def digests(arrays: Sequence[NDArray[Any]], *, size: int) -> NDArray[np.uint8]:
    """BLAKE2b of the bytes of each sample, its arrays one after the other: `[N, size]`.

    Args:
        arrays: What samples are made of, each `[N, ...]`.
        size: Bytes of a hash.
    """
    contiguous = [np.ascontiguousarray(array) for array in arrays]
    found = np.empty((len(contiguous[0]), size), np.uint8)
    for row, sample in zip(found, zip(*contiguous, strict=True), strict=True):
        digest = hashlib.blake2b(digest_size=size)
        for part in sample:
            digest.update(part.data)
        row[:] = np.frombuffer(digest.digest(), np.uint8)
    return found

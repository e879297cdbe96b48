"""Sets of classes as one number each, so that a label is a number whether a sample has one class or several.

Bit k is set where the sample has class k; 0 is a sample with none of them, and below 0 stands, as everywhere, a sample whose
label is not known. See docs/decisions/023.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_CLASSES = 62


def encode(members_NK: NDArray[Any]) -> NDArray[np.int64]:
    """Rows of zeros and ones as numbers `[N]`.

    Args:
        members_NK: `[N, K]`, whether the sample has the class; K up to 62.
    """
    bits_K = np.int64(1) << np.arange(members_NK.shape[1], dtype=np.int64)
    codes_N: NDArray[np.int64] = (members_NK.astype(np.int64) * bits_K).sum(axis=1)
    return codes_N


def decode(codes_N: NDArray[np.int64], num_classes: int) -> NDArray[np.bool_]:
    """The rows `[N, K]` that numbers stand for."""
    members_NK: NDArray[np.bool_] = (codes_N[:, None] >> np.arange(num_classes, dtype=np.int64)) & 1 == 1
    return members_NK


def named(code: int, classes: Sequence[str]) -> str:
    """A set in words; below 0 nothing was told."""
    if code < 0:
        return "nothing"
    return ", ".join(name for bit, name in enumerate(classes) if code >> bit & 1) or "none"

"""The samples on which one model is right and another wrong: what tasks of right and wrong decisions share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor.scores import RIGHT

if TYPE_CHECKING:
    from compressor.scores import Findings


WITHOUT_CLASS: Mapping[str, Any] = {"label": -1, "base": -1, "base_probability": 0.0, "answer": -1, "probability": 0.0}
"""What is said of a sample that belongs to no class as a whole, in the place of what `surest_losses` says."""


def surest_losses(base: Findings, other: Findings, *, most: int) -> list[dict[str, Any]]:
    """The samples that the base alone tells rightly, those first of which the other is surest.

    Args:
        base: With the columns `label`, `decided`, `confidence` and `right`.
        other: Likewise, for the same samples.
        most: How many at most.

    Returns:
        Of each: `position`, `label`, and the class and probability that each answers (`base`, `base_probability`, `answer`,
        `probability`).
    """
    lost_N = np.flatnonzero(base[RIGHT] & ~other[RIGHT])
    order = lost_N[np.argsort(-np.nan_to_num(other["confidence"][lost_N]), kind="stable")][:most]
    return [
        {
            "position": position,
            "label": int(base["label"][position]),
            "base": int(base["decided"][position]),
            "base_probability": float(base["confidence"][position]),
            "answer": int(other["decided"][position]),
            "probability": float(np.nan_to_num(other["confidence"][position])),
        }
        for position in order.tolist()
    ]

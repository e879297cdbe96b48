"""How sure decisions are against how often they are right (Guo et al. 2017, arXiv 1706.04599, equation 3).

Shape letters: N decisions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 15


def calibration_error(confidence_N: NDArray[np.float64], correct_N: NDArray[np.bool_]) -> float:
    """Mean over decisions of |accuracy − mean confidence| of the decision's confidence bin; bins are (low, high]."""
    if np.isnan(confidence_N).any():
        return float("nan")
    gaps = np.bincount(_bins(confidence_N), weights=correct_N - confidence_N, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence_N))


def reliability(confidence_N: NDArray[np.float64], correct_N: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """For each bin that is not empty: `low`, `high`, `samples`, mean `confidence` and `accuracy`."""
    sure_N = np.nan_to_num(confidence_N)
    bins_N = _bins(sure_N)
    found = []
    for number in np.unique(bins_N).tolist():
        inside = bins_N == number
        found.append(
            {
                "low": number / BINS,
                "high": (number + 1) / BINS,
                "samples": int(inside.sum()),
                "confidence": float(sure_N[inside].mean()),
                "accuracy": float(correct_N[inside].mean()),
            }
        )
    return found


def _bins(confidence_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """The number of the bin of each confidence; bins are (low, high], and 0 belongs to the first."""
    return np.clip(np.ceil(confidence_N * BINS).astype(np.int64) - 1, 0, BINS - 1)

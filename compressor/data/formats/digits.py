"""The handwritten digits that come with scikit-learn: small enough for a first run in seconds, without a download.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998 (its
test part, as scikit-learn ships it).
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from compressor.data import arrays
from compressor.data.samples import ArraySamples, Splits


def digits() -> Splits:
    """scikit-learn's 1 797 handwritten digits, 8 x 8 grey pixels."""
    bunch = load_digits()
    # Stored as 0-16, the count of inked pixels in each 4 x 4 block.
    pixels = np.rint(bunch.images[:, None] * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    classes = tuple(str(name) for name in bunch.target_names)
    return Splits(
        classes=classes,
        train=ArraySamples({"image": pixels}, labels),
        val=None,
        test=None,
        fingerprint=arrays.fingerprint({"x": pixels, "y": labels}, classes=classes),
    )

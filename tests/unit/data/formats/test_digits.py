"""scikit-learn's digits."""

import numpy as np

from compressor.data.formats.digits import digits
from tests.named import inputs_of


def test_digits_use_the_whole_range_of_a_byte():
    splits = digits()
    pixels = inputs_of(splits.train, np.arange(len(splits.train)))

    assert pixels.shape == (1797, 1, 8, 8)
    assert pixels.dtype == np.uint8
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert splits.classes == tuple("0123456789")


def test_digits_have_no_splits_of_their_own():
    splits = digits()

    assert splits.val is None
    assert splits.test is None
    assert splits.fingerprint == digits().fingerprint

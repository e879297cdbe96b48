"""Whether a quantized model ships is decided by the interval of its speed-up and by its size."""

from __future__ import annotations

import pytest

from compressor.measure.statistics import Interval
from compressor.stages.quantize import worth


@pytest.mark.parametrize(
    ("ratio", "low", "high", "times_smaller", "found"),
    [
        (1.6, 1.5, 1.7, 3.9, "speed"),
        (1.3, 1.0, 1.6, 0.9, "speed"),
        (1.02, 0.97, 1.06, 3.9, "size"),
        (1.02, 0.97, 1.06, 1.0, "nothing"),
        (0.99, 0.95, 1.0, 3.9, "size"),
        (0.92, 0.83, 1.05, 3.9, "may be slower"),
        (1.3, 0.83, 1.9, 3.9, "may be slower"),
        (0.98, 0.97, 0.99, 3.9, "is slower"),
        (0.82, 0.80, 0.85, 3.9, "is slower"),
    ],
)
def test_what_a_quantized_model_is_worth(ratio, low, high, times_smaller, found):
    assert worth(Interval(ratio, low, high), times_smaller=times_smaller) == found

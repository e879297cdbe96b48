"""Data from a function of the user's own: the way in for every format that has no file here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from compressor import registry
from compressor.data.arrays import splits_from_arrays
from compressor.data.samples import Splits
from compressor.errors import FOREIGN_FAULTS, CompressError, DataError


def py(target: str, *, layout: str = "auto", labels: bool = True) -> Splits:
    """A function of yours, FILE.py:callable, that returns the arrays of npz as a dict, or Splits.

    Args:
        target: `FILE.py:callable`; it is called without arguments.
        layout: NCHW or NHWC for images (auto takes the axis of size 1 or 3 as the channels); NCL for series
        labels: with false, y_train and its like are not needed, and no sample has a label

    Raises:
        DataError: No such file or function, it fails, or it returns something else.
    """
    name, _, attr = target.rpartition(":")
    if not name or not attr:
        raise DataError(f"'{target}' names no function", where="data.source", hint="write py:FILE.py:callable")
    file = Path(name).expanduser()
    if not file.is_file():
        raise DataError("no such file", where=str(file), hint="write py:FILE.py:callable")
    function = getattr(registry.import_file(file), attr, None)
    if not callable(function):
        raise DataError(f"has no function '{attr}'", where=str(file))
    try:
        returned = function()
    except CompressError:
        raise
    except FOREIGN_FAULTS as fault:
        raise DataError(f"{attr}() fails: {type(fault).__name__}: {fault}", where=str(file)) from fault
    if isinstance(returned, Splits):
        return returned
    if not isinstance(returned, Mapping):
        raise DataError(
            f"{attr}() returned a {type(returned).__name__}",
            where=str(file),
            hint='return {"x_train": ..., "y_train": ...} with NumPy arrays, or compressor.data.samples.Splits',
        )
    arrays = {str(key): np.asarray(value) for key, value in returned.items()}
    return splits_from_arrays(arrays, layout=layout, where=target, labels=labels)

"""NumPy archives. Nothing is unpickled: an archive with Python objects is refused."""

from __future__ import annotations

from pathlib import Path

from compressor import array_files
from compressor.data.arrays import splits_from_arrays
from compressor.data.samples import Splits
from compressor.errors import DataError


def npz(path: Path, *, layout: str = "auto", labels: bool = True) -> Splits:
    """A NumPy archive with x_train, y_train (x_val, y_val, x_test, y_test, classes), or x and y.

    Args:
        path: The archive.
        layout: NCHW or NHWC for images (auto takes the axis of size 1 or 3 as the channels); NCL for series
        labels: with false, y_train and its like are not needed, and no sample has a label

    Raises:
        DataError: Not an archive, damaged, with Python objects, or with arrays that do not fit.
    """
    try:
        arrays = array_files.read(path)
    except (OSError, ValueError) as fault:
        raise DataError(
            f"cannot be read as a NumPy archive: {fault}",
            where=str(path),
            hint="write it with numpy.savez from arrays of numbers and strings",
        ) from fault
    return splits_from_arrays(arrays, layout=layout, where=str(path), labels=labels)

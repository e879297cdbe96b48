"""NumPy archives. Nothing is unpickled: an archive with Python objects is refused."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from compressor.data.arrays import splits_from_arrays
from compressor.data.samples import Splits
from compressor.errors import DataError


def npz(path: Path, *, layout: str = "auto", labels: bool = True) -> Splits:
    """A NumPy archive with x_train, y_train (x_val, y_val, x_test, y_test, classes), or x and y.

    Args:
        path: The archive.
        layout: NCHW or NHWC for images; auto takes the axis of size 1 or 3 as the channels
        labels: with false, y_train and its like are not needed, and no sample has a label

    Raises:
        DataError: Not an archive, damaged, with Python objects, or with arrays that do not fit.
    """
    try:
        # Opened here, since NumPy leaves a file that it opened itself unclosed when the archive is damaged.
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError("is a single array, not an archive", where=str(path), hint="write it with numpy.savez")
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as fault:
        what = "it is none, or holds Python objects" if "pickle" in str(fault) else fault  # NumPy advises to trust it
        raise DataError(
            f"cannot be read as a NumPy archive: {what}",
            where=str(path),
            hint="write it with numpy.savez from arrays of numbers and strings",
        ) from fault
    return splits_from_arrays(arrays, layout=layout, where=str(path), labels=labels)

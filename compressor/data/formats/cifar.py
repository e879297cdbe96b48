"""The python batches of CIFAR-10 and CIFAR-100, read without running anything that a pickle could ask for.

The batches are pickles. They are read as data (`plain_pickle`), and the array is built from the raw bytes. So neither the
pickle nor NumPy's own unpickling code decides anything.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor import plain_pickle
from compressor.data import arrays, pickled_arrays
from compressor.data.samples import ArraySamples, Splits
from compressor.errors import DataError, TrustError
from compressor.plain_pickle import DamagedPickleError, Made


@dataclass(frozen=True)
class _Layout:
    """File and key names of one of the two sets."""

    folder: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    names: str


_CIFAR10 = _Layout(
    folder="cifar-10-batches-py",
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test="test_batch",
    meta="batches.meta",
    labels="labels",
    names="label_names",
)
_CIFAR100 = _Layout(
    folder="cifar-100-python",
    train=("train",),
    test="test",
    meta="meta",
    labels="fine_labels",
    names="fine_label_names",
)


def cifar(path: Path) -> Splits:
    """CIFAR-10 or CIFAR-100 as python batches: cifar-10-batches-py, cifar-100-python, or the folder above.

    Args:
        path: The folder.

    Raises:
        DataError: A file is missing or damaged, or the folder holds both sets or none.
        TrustError: A batch asks for something else than arrays and plain containers; nothing of it has run.
    """
    folder, layout = _locate(path)
    names = _load(folder / layout.meta).get(layout.names)
    if not isinstance(names, list):
        raise DataError(f"holds no {layout.names}", where=str(folder / layout.meta))
    if not all(isinstance(name, str | bytes) for name in names):
        raise DataError(f"holds {layout.names} that are no text", where=str(folder / layout.meta))
    classes = tuple(_text(name) for name in names)
    batches = [_batch(folder / name, layout) for name in layout.train]
    x_train = np.concatenate([images for images, _ in batches])
    y_train = np.concatenate([labels for _, labels in batches])
    x_test, y_test = _batch(folder / layout.test, layout)
    read = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return Splits(
        classes=classes,
        train=ArraySamples({"image": x_train}, y_train),
        val=None,
        test=ArraySamples({"image": x_test}, y_test),
        fingerprint=arrays.fingerprint(read, classes=classes),
    )


def _locate(path: Path) -> tuple[Path, _Layout]:
    found = [
        (folder, layout)
        for layout in (_CIFAR10, _CIFAR100)
        for folder in (path, path / layout.folder)
        if (folder / layout.meta).is_file()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError("holds CIFAR-10 and CIFAR-100", where=str(path), hint=f"write cifar:{found[0][0]}")
    raise DataError("holds neither batches.meta (CIFAR-10) nor meta (CIFAR-100)", where=str(path))


def _batch(file: Path, layout: _Layout) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images `[N, 3, 32, 32]` and labels `[N]`."""
    content = _load(file)
    data, labels = content.get("data"), content.get(layout.labels)
    if not isinstance(data, Made) or not isinstance(labels, list):
        raise DataError(f"holds no data and {layout.labels}", where=str(file))
    pixels = pickled_arrays.array_of(data)
    if pixels is None or pixels.dtype != np.uint8:
        raise DataError("holds an array that is not of unsigned bytes, or is cut short", where=str(file))
    if pixels.shape != (len(labels), 3 * 32 * 32):
        raise DataError(f"holds data {pixels.shape} for {len(labels)} labels", where=str(file))
    if not all(isinstance(label, int) for label in labels):
        raise DataError("holds labels that are not whole numbers", where=str(file))
    return pixels.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)


_ADMITTED = pickled_arrays.NAMES | {"_codecs.encode", "collections.OrderedDict"}


def _load(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            read = plain_pickle.read(stream, size=file.stat().st_size, encoding=None)
    except OSError as fault:
        raise DataError(f"cannot be read: {fault.strerror}", where=str(file)) from fault
    except DamagedPickleError as fault:
        raise DataError(
            f"is damaged or no python batch: {fault}", where=str(file), hint="unpack the set's archive again"
        ) from fault
    foreign = [name for name in read.names if name not in _ADMITTED]
    if foreign:
        raise TrustError(
            f"the pickle asks for {foreign[0]}, which no CIFAR batch needs",
            where=str(file),
            hint="take the batches from the set's own archive",
        )
    if not isinstance(read.value, dict):
        raise DataError(f"holds a {type(read.value).__name__}, not a dict", where=str(file))
    return {_text(key): value for key, value in read.value.items()}


def _text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)

"""The python batches of CIFAR-10 and CIFAR-100, read without running anything that a pickle could ask for.

The batches are pickles. The unpickler here knows four names (array, its constructor, its type, and the codec of
Python 3's byte strings) and answers each with a stand-in that only notes its arguments; the array is then built from the
raw bytes. So neither the pickle nor NumPy's own unpickling code decides anything.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.data import arrays
from compressor.data.samples import ArraySamples, Splits
from compressor.errors import DataError, TrustError


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
    if not isinstance(data, _PickledArray) or not isinstance(labels, list):
        raise DataError(f"holds no data and {layout.labels}", where=str(file))
    pixels = data.rebuild(file)
    if pixels.shape != (len(labels), 3 * 32 * 32):
        raise DataError(f"holds data {pixels.shape} for {len(labels)} labels", where=str(file))
    if not all(isinstance(label, int) for label in labels):
        raise DataError("holds labels that are not whole numbers", where=str(file))
    return pixels.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)


_DAMAGE = (
    pickle.UnpicklingError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    struct.error,
)


def _load(file: Path) -> dict[str, Any]:
    try:
        raw = file.read_bytes()
    except OSError as fault:
        raise DataError(f"cannot be read: {fault.strerror}", where=str(file)) from fault
    try:
        content = _Unpickler(io.BytesIO(raw), file).load()
    except _DAMAGE as fault:
        raise DataError(
            f"is damaged or no python batch: {fault}", where=str(file), hint="unpack the set's archive again"
        ) from fault
    if not isinstance(content, dict):
        raise DataError(f"holds a {type(content).__name__}, not a dict", where=str(file))
    return {_text(key): value for key, value in content.items()}


def _text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


class _PickledType:
    """Stands in for `numpy.dtype`."""

    def __init__(self, name: object, *_: object) -> None:
        self.name = _text(name)

    def __setstate__(self, state: object) -> None:
        """The byte order and flags of a type; of no use for bytes."""


class _PickledArray:
    """Stands in for `numpy.ndarray`."""

    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def rebuild(self, file: Path) -> NDArray[np.uint8]:
        """The array, from the shape and the raw bytes that the pickle gave."""
        match self.state:
            case (int(), tuple(shape), _PickledType(name="u1" | "|u1"), bool() | int() as fortran, bytes(raw)):
                if not fortran and all(isinstance(n, int) and n >= 0 for n in shape) and math.prod(shape) == len(raw):
                    return np.frombuffer(raw, np.uint8).reshape(shape)
        raise DataError("holds an array that is not of unsigned bytes, or is cut short", where=str(file))


def _reconstruct(*_: object) -> _PickledArray:
    return _PickledArray()


def _encode(text: str, _encoding: str) -> bytes:
    return text.encode("latin1")


_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _PickledType,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    """Admits the four names that CIFAR's files need."""

    def __init__(self, stream: io.BytesIO, file: Path) -> None:
        super().__init__(stream, encoding="bytes")
        self._file = file

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for an admitted name.

        Raises:
            TrustError: Any other name.
        """
        if (module, name) not in _ADMITTED:
            raise TrustError(
                f"the pickle asks for {module}.{name}, which no CIFAR batch needs",
                where=str(self._file),
                hint="take the batches from the set's own archive",
            )
        return _ADMITTED[module, name]

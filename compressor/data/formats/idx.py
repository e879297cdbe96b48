"""The idx files of MNIST and those who took up its form (Fashion-MNIST, KMNIST).

Format: two zero bytes, the type of the numbers (0x08: unsigned byte), the number of axes, each axis as a big-endian
32-bit count, then the numbers (http://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor import array_files
from compressor.data import arrays
from compressor.data.samples import ArraySamples, Splits
from compressor.errors import DataError

_UNSIGNED_BYTE = 0x08
_HINT = "it was cut short or damaged; fetch it again"
_AXES = {"images": "idx3", "labels": "idx1"}


def idx(path: Path, *, classes: str = "") -> Splits:
    """A folder of MNIST's form: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-..., plain or .gz.

    Args:
        path: The folder.
        classes: class names in the order of the labels, with commas between them; the numbers themselves if empty

    Raises:
        DataError: A file is missing, damaged or cut short, or files do not fit each other.
    """
    read = _read_split(path, "train")
    if _find(path, "t10k", "images") is not None:
        read |= _read_split(path, "t10k")
    labels = {name: array for name, array in read.items() if array.ndim == 1}
    num_classes = 1 + max(int(y.max(initial=0)) for y in labels.values())
    names = tuple(name.strip() for name in classes.split(",")) if classes else tuple(map(str, range(num_classes)))
    if len(names) < num_classes:
        raise DataError(
            f"{len(names)} class names for labels from 0 to {num_classes - 1}",
            where="data.options.classes",
            hint="name every class, with commas between them",
        )
    return Splits(
        classes=names,
        train=ArraySamples(read["train images"], read["train labels"]),
        val=None,
        test=ArraySamples(read["t10k images"], read["t10k labels"]) if "t10k images" in read else None,
        fingerprint=arrays.fingerprint(read, classes=names),
    )


def _read_split(path: Path, split: str) -> dict[str, NDArray[np.uint8]]:
    """`{"<split> images": [N, 1, H, W], "<split> labels": [N]}`."""
    images, labels = (_read(_require(path, split, part), num_axes=3 if part == "images" else 1) for part in _AXES)
    if len(images) != len(labels):
        raise DataError(
            f"{split} images hold {len(images)} samples, {split} labels {len(labels)}",
            where=str(_find(path, split, "labels")),
        )
    return {f"{split} images": images[:, None], f"{split} labels": labels}


def _find(path: Path, split: str, part: str) -> Path | None:
    names = [f"{split}-{part}{separator}{_AXES[part]}-ubyte{end}" for separator in "-." for end in ("", ".gz")]
    return next((path / name for name in names if (path / name).is_file()), None)


def _require(path: Path, split: str, part: str) -> Path:
    file = _find(path, split, part)
    if file is None:
        raise DataError(f"holds no {split}-{part}-{_AXES[part]}-ubyte, with or without .gz", where=str(path))
    return file


def _read(file: Path, *, num_axes: int) -> NDArray[np.uint8]:
    start = 4 + 4 * num_axes
    raw, rest = _bytes(file, start)
    if len(raw) < start or raw[:2] != b"\0\0":
        raise DataError("is not an idx file: its first bytes are wrong", where=str(file))
    if raw[2] != _UNSIGNED_BYTE:
        raise DataError(f"holds numbers of type 0x{raw[2]:02x}; 0x08 (unsigned byte) is read", where=str(file))
    if raw[3] != num_axes:
        raise DataError(f"has {raw[3]} axes where {num_axes} are due", where=str(file))
    shape = tuple(int(count) for count in np.frombuffer(raw, ">u4", num_axes, offset=4))
    content = rest(math.prod(shape))
    if len(content) != math.prod(shape):
        more = len(content) > math.prod(shape)
        held = len(content) if not more else "more" if file.suffix == ".gz" else file.stat().st_size - start
        raise DataError(
            f"its header promises {math.prod(shape)} bytes {shape}, it holds {held}", where=str(file), hint=_HINT
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _bytes(file: Path, start: int) -> tuple[bytes, Callable[[int], bytes]]:
    """The first bytes of a file, and what gives the others: no more than are due and one, whatever they would unpack to."""

    def read(first: int, count: int) -> bytes:
        try:
            with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
                stream.seek(first)
                found: bytes = stream.read(count)
                return found
        except (OSError, EOFError, zlib.error) as fault:
            raise DataError(f"cannot be read: {fault}", where=str(file), hint=_HINT) from fault

    def rest(due: int) -> bytes:
        try:
            if file.suffix != ".gz":
                return read(start, min(due + 1, file.stat().st_size))
            array_files.require_unpackable(due, packed=file.stat().st_size)
        except ValueError as fault:
            raise DataError(str(fault), where=str(file), hint=_HINT) from fault
        return read(start, due + 1)

    return read(0, start), rest

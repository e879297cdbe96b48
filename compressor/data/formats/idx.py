"""The idx files of MNIST and those who took up its form (Fashion-MNIST, KMNIST).

Format: two zero bytes, the type of the numbers (0x08: unsigned byte), the number of axes, each axis as a big-endian
32-bit count, then the numbers (http://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from compressor import array_files
from compressor.data import arrays
from compressor.data.samples import ArraySamples, Splits
from compressor.errors import DataError

_UNSIGNED_BYTE = 0x08
_MOST_UNPACKED = 2_000_000_000  # bytes: three megabytes of .gz can hold gigabytes of zeros
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
        train=ArraySamples({"image": read["train images"]}, read["train labels"]),
        val=None,
        test=ArraySamples({"image": read["t10k images"]}, read["t10k labels"]) if "t10k images" in read else None,
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
    """The numbers in a file; no more of it is read, or unpacked, than its header says that there is."""
    try:
        with _opened(file) as stream:
            shape = _shape(stream.read(4 + 4 * num_axes), file, num_axes=num_axes)
            due = math.prod(shape)
            if file.suffix == ".gz":
                array_files.require_unpackable(due, packed=file.stat().st_size)
            if file.suffix == ".gz" and due > _MOST_UNPACKED:
                raise DataError(
                    f"its header promises {due} bytes {shape}; a compressed file is unpacked up to {_MOST_UNPACKED}",
                    where=str(file),
                    hint=f"unpack it first: gunzip {file}",
                )
            held = None if file.suffix == ".gz" else file.stat().st_size - stream.tell()
            raw = stream.read(due + 1) if held in (None, due) else b""
    except (OSError, EOFError, ValueError, zlib.error) as fault:
        raise DataError(f"cannot be read: {fault}", where=str(file), hint=_HINT) from fault
    if len(raw) != due:
        holds = f"more than {due}" if len(raw) > due else str(len(raw) if held is None else held)
        raise DataError(
            f"its header promises {due} bytes {shape}, it holds {holds}",
            where=str(file),
            hint=_HINT,
        )
    return np.frombuffer(raw, np.uint8).reshape(shape)


def _shape(head: bytes, file: Path, *, num_axes: int) -> tuple[int, ...]:
    """What a header says of the numbers after it."""
    if len(head) < 4 + 4 * num_axes or head[:2] != b"\0\0":
        raise DataError("is not an idx file: its first bytes are wrong", where=str(file))
    if head[2] != _UNSIGNED_BYTE:
        raise DataError(f"holds numbers of type 0x{head[2]:02x}; 0x08 (unsigned byte) is read", where=str(file))
    if head[3] != num_axes:
        raise DataError(f"has {head[3]} axes where {num_axes} are due", where=str(file))
    return tuple(int(count) for count in np.frombuffer(head, ">u4", num_axes, offset=4))


def _opened(file: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(file)) if file.suffix == ".gz" else file.open("rb")

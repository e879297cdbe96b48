"""NumPy archives (`.npz`) that anyone may have written: read within bounds, without pickles, any fault one sentence.

Of each array the header is read before its numbers: what it promises must be what the archive holds, and an archive that
would unpack to hundreds of times its size is refused before any of it is.
"""

from __future__ import annotations

import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALWAYS_UNPACKED = 2**30
"""Bytes that anything may unpack to, however small it is packed."""
MOST_TIMES = 200
"""How many times its packed size anything larger may unpack to; arrays of samples reach ten."""
_MOST_ENTRIES = 10_000
_SINGLE = b"\x93NUMPY"
_KINDS = "biufUS"

_FAULTS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the standard library and NumPy raise over damaged archives."""


def read(file: Path, *, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays in an archive, numbers and strings only.

    Args:
        file: The archive.
        names: Which to read, where they are there; all by default.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is none, is damaged, holds something else, or would unpack beyond all measure; in one sentence.
    """
    with file.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        if stream.read(len(_SINGLE)) == _SINGLE:
            raise ValueError("a single array, not an archive: write it with numpy.savez")
        try:
            with zipfile.ZipFile(stream) as archive:
                return _arrays(archive, size=size, names=names)
        except zipfile.BadZipFile as fault:
            raise ValueError("no NumPy archive, or a damaged one") from fault
        except _FAULTS as fault:
            raise ValueError(str(fault) or type(fault).__name__) from fault


def require_unpackable(unpacked: int, *, packed: int) -> None:
    """Refuse what would unpack beyond all measure.

    Raises:
        ValueError: It would.
    """
    if unpacked > max(ALWAYS_UNPACKED, MOST_TIMES * packed):
        raise ValueError(f"would unpack from {packed / 1e6:.3g} MB to {unpacked / 1e9:.3g} GB")


def _arrays(archive: zipfile.ZipFile, *, size: int, names: Collection[str] | None) -> dict[str, NDArray[Any]]:
    entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise ValueError(f"{len(entries)} entries, and {_MOST_ENTRIES} are read at most")
    wanted = [each for each in entries if names is None or each.filename.removesuffix(".npy") in names]
    require_unpackable(sum(each.file_size for each in wanted), packed=size)
    found: dict[str, NDArray[Any]] = {}
    for entry in wanted:
        name = entry.filename.removesuffix(".npy")
        if name in found:
            raise ValueError(f"two arrays are called '{name}'")
        try:
            with archive.open(entry) as stream:
                found[name] = _array(stream, holds=entry.file_size)
        except _FAULTS as fault:
            raise ValueError(
                f"'{name[:40]}' {str(fault).splitlines()[0] if str(fault) else type(fault).__name__}"
            ) from fault
    return found


def _array(stream: IO[bytes], *, holds: int) -> NDArray[Any]:
    """An array from a stream that ends with it."""
    try:
        version = np.lib.format.read_magic(stream)
    except ValueError as fault:
        raise ValueError("is no array") from fault
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"is an array of form {version[0]}.{version[1]}, which is for records")
    shape, in_columns, dtype = readers[version](stream)
    if dtype.hasobject:
        raise ValueError("holds Python objects")
    if dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise ValueError(f"holds {dtype}, and numbers and strings are read")
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise ValueError(f"has the shape {shape}")
    due = math.prod(shape) * dtype.itemsize
    if due > holds:
        raise ValueError(f"promises {due} bytes and holds {holds}")
    content = bytearray(due)
    _fill(content, stream)
    if stream.read(1):
        raise ValueError("holds more than it promises")
    flat = np.frombuffer(content, dtype) if due else np.empty(math.prod(shape), dtype)
    return flat.reshape(shape[::-1]).transpose() if in_columns else flat.reshape(shape)


def _fill(content: bytearray, stream: IO[bytes]) -> None:
    view, done = memoryview(content), 0
    while done < len(view):
        part = stream.read(min(len(view) - done, 1 << 20))
        if not part:
            raise ValueError("ends too early")
        view[done : done + len(part)] = part
        done += len(part)

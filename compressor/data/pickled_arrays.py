"""NumPy arrays out of pickles that were read as data, from shape and raw bytes; NumPy's unpickling decides nothing."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.plain_pickle import Made, Name

_RECONSTRUCT = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
NAMES = frozenset({*_RECONSTRUCT, "numpy.ndarray", "numpy.dtype"})
"""What a pickle of arrays imports."""

_NUMERIC = re.compile(r"[|<>=]?(b1|[iu][1248]|f[248]|c(8|16))")
_MOST_AXES = 32


def array_of(found: object) -> NDArray[Any] | None:
    """The array of numbers that a pickle describes; None when it describes something else, or other bytes than it has."""
    if not isinstance(found, Made) or found.name not in _RECONSTRUCT:
        return None
    match found.arguments, found.state:
        case (Name(text="numpy.ndarray"), _, _), (
            int(),
            tuple(shape),
            Made() as of,
            bool() | int() as fortran,
            content,
        ):
            dtype = _dtype_of(of)
            if isinstance(content, str):  # Python 2's bytes, where text was asked for
                content = content.encode("latin-1")
            if dtype is None or not isinstance(content, bytes) or not _is_shape(shape):
                return None
            if math.prod(shape) * dtype.itemsize != len(content):
                return None
            flat = np.frombuffer(content, dtype)
            return flat.reshape(shape, order="F" if fortran else "C")
    return None


def _is_shape(shape: tuple[object, ...]) -> bool:
    sizes = [size for size in shape if isinstance(size, int) and 0 <= size < 1 << 48]
    return len(sizes) == len(shape) <= _MOST_AXES


def _dtype_of(found: Made) -> np.dtype[Any] | None:
    """A type of numbers, of those that have a fixed width; of its state the byte order alone is taken."""
    match found.name, found.arguments, found.state:
        case "numpy.dtype", (str() | bytes() as code, *_), state:
            text = code.decode("latin-1") if isinstance(code, bytes) else code
            if not _NUMERIC.fullmatch(text):
                return None
            order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
            order = order.decode("latin-1") if isinstance(order, bytes) else order
            dtype = np.dtype(text)
            return dtype.newbyteorder("<" if order == "<" else ">") if order in ("<", ">") else dtype
    return None

"""One image file to one square of pixels, and samples that are decoded whenever they are read."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from compressor.data.samples import InTable, TargetTable
from compressor.errors import DataError
from compressor.files import read_bytes
from compressor.tensors import Schema, TensorSpec

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"})

DECODER = 1
"""Raised with any change of the pixels that a file becomes, since stores hold what an earlier version decoded."""

# Only these decoders are tried, whatever the suffix says: Pillow's EPS reader, for one, would start Ghostscript.
IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF")

# Pillow's decoders parse in Python, so a damaged file raises more than OSError (a PNG's chunk raises SyntaxError).
UNREADABLE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

MOST_BYTES, MOST_PIXELS = 2**30, 2 * 10**8
"""Of one picture; a camera's has a tenth of either."""


def num_threads() -> int:
    """Threads to decode with: one for each core this process may use, at most 16."""
    return min(16, len(os.sched_getaffinity(0)))


def short_side(file: Path) -> int:
    """Shorter side in pixels, from the header alone.

    Raises:
        OSError: And the others of `UNREADABLE`.
    """
    with Image.open(file, formats=IMAGE_FORMATS) as image:
        return bounded(image)


def decode(raw: bytes, *, side: int) -> NDArray[np.uint8]:
    """An image file's bytes as upright RGB `[3, side, side]`: short side resized (bicubic), centre kept.

    Raises:
        OSError: And the others of `UNREADABLE`, for bytes that are no whole image.
    """
    with Image.open(io.BytesIO(raw), formats=IMAGE_FORMATS) as image:
        bounded(image)
        # JPEG can decode at a half, quarter or eighth; twice the wanted size stays, as Pillow's own thumbnails do.
        image.draft(None, (2 * side, 2 * side))
        upright = rgb(ImageOps.exif_transpose(image))
        square = upright
        if upright.size != (side, side):
            square = ImageOps.fit(upright, (side, side), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def content(file: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is larger than any picture.
    """
    return read_bytes(file, most_bytes=MOST_BYTES)


def bounded(image: Image.Image) -> int:
    """The shorter side of a picture that is not larger than any.

    Raises:
        ValueError: It has more pixels, or none.
    """
    width, height = image.size
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"{width} x {height} pixels")
    return min(width, height)


def rgb(image: Image.Image) -> Image.Image:
    """A picture of any mode in RGB.

    Raises:
        ValueError: Its pixels have no known range.
    """
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels have no known range (mode {image.mode})")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def readable_among(files: Sequence[Path], *, side: int) -> list[tuple[str, bool]]:
    """For each file the SHA-256 of its content (hex), empty if there is none to read; and whether it is a picture."""

    def look(file: Path) -> tuple[str, bool]:
        digest = ""
        try:
            raw = content(file)
            digest = hashlib.sha256(raw).hexdigest()
            decode(raw, side=side)
        except UNREADABLE:
            return digest, False
        return digest, True

    with ThreadPoolExecutor(num_threads()) as pool:
        return list(pool.map(look, files))


class FileSamples(InTable):
    """Image files, decoded by threads each time they are fetched.

    Args:
        path: Where the file of each position lies.
        labels: `[N]`.
        side: Pixels of the square they are brought to.
    """

    def __init__(self, path: Callable[[int], Path], labels: NDArray[np.int64], *, side: int) -> None:
        self._path = path
        self._side = side
        self.table = TargetTable.of_labels(labels)
        self.inputs = Schema.of(TensorSpec("image", "uint8", (3, side, side)))
        self._pool: ThreadPoolExecutor | None = None

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The images at `positions`, decoded.

        Raises:
            DataError: A file cannot be read.
        """
        pixels = np.empty((len(positions), 3, self._side, self._side), np.uint8)

        def read(row: int) -> None:
            pixels[row] = self._decode(self._path(int(positions[row])))

        if self._pool is None:  # made at the first use and kept: starting threads for every batch would cost more
            self._pool = ThreadPoolExecutor(num_threads(), thread_name_prefix="decode")
        rows = range(len(positions))
        share = max(1, -(-len(positions) // (4 * num_threads())))

        def read_some(first: int) -> None:
            for row in rows[first : first + share]:
                read(row)

        list(self._pool.map(read_some, rows[::share]))
        return {"image": pixels}

    def _decode(self, file: Path) -> NDArray[np.uint8]:
        try:
            return decode(content(file), side=self._side)
        except UNREADABLE as fault:
            hint = (
                "remove or mend the file, or decode the set once (data.options.decode = 'once'), which leaves such out"
            )
            raise DataError(f"cannot be read: {fault}", where=str(file), hint=hint) from fault

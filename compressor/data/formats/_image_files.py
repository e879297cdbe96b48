"""One image file to one square of pixels, and samples that are decoded whenever they are read."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from compressor.errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"})

# Only these decoders are tried, whatever the suffix says: Pillow's EPS reader, for one, would start Ghostscript.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF")

# Pillow's decoders parse in Python, so a damaged file raises more than OSError (a PNG's chunk raises SyntaxError).
UNREADABLE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    LookupError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)


def num_threads() -> int:
    """Threads to decode with: one for each core this process may use, at most 16."""
    return min(16, len(os.sched_getaffinity(0)))


def short_side(file: Path) -> int:
    """Shorter side in pixels, from the header alone.

    Raises:
        OSError: And the others of `UNREADABLE`.
    """
    with Image.open(file, formats=_FORMATS) as image:
        return min(image.size)


def decode(raw: bytes, *, side: int) -> NDArray[np.uint8]:
    """An image file's bytes as upright RGB `[3, side, side]`: short side resized (bicubic), centre kept.

    Raises:
        OSError: And the others of `UNREADABLE`, for bytes that are no whole image.
    """
    with Image.open(io.BytesIO(raw), formats=_FORMATS) as image:
        # JPEG can decode at a half, quarter or eighth; twice the wanted size stays, as Pillow's own thumbnails do.
        image.draft(None, (2 * side, 2 * side))
        upright = ImageOps.exif_transpose(image)
        square = ImageOps.fit(_rgb(upright), (side, side), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels have no known range (mode {image.mode})")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


class FileSamples:
    """Image files, decoded by threads each time they are fetched.

    Args:
        files: One image each.
        labels: `[N]`.
        side: Pixels of the square they are brought to.
    """

    def __init__(self, files: Sequence[Path], labels: NDArray[np.int64], *, side: int) -> None:
        self._files = tuple(files)
        self.labels = labels
        self.sample_shape: tuple[int, ...] = (3, side, side)

    def __len__(self) -> int:
        return len(self._files)

    def fetch(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """The images at `positions`, decoded.

        Raises:
            DataError: A file has become unreadable since the set was opened.
        """
        pixels = np.empty((len(positions), *self.sample_shape), np.uint8)

        def read(row: int) -> None:
            pixels[row] = self._decode(self._files[positions[row]])

        with ThreadPoolExecutor(num_threads()) as pool:
            list(pool.map(read, range(len(positions))))
        return pixels

    def _decode(self, file: Path) -> NDArray[np.uint8]:
        try:
            return decode(file.read_bytes(), side=self.sample_shape[1])
        except UNREADABLE as fault:
            raise DataError(
                f"could be read when the set was opened, but no longer: {fault}", where=str(file)
            ) from fault

"""Pictures with their masks: which belong together, how a mask file becomes class numbers, and samples of both.

Shape letters: N samples, B batch, H height, W width.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from compressor.data.formats._file_table import is_left_by_others
from compressor.data.formats._image_files import (
    IMAGE_FORMATS,
    SUFFIXES,
    UNREADABLE,
    bounded,
    content,
    num_threads,
    rgb,
)
from compressor.errors import DataError
from compressor.tensors import IGNORED, MASK, Schema, TensorSpec

MASK_SUFFIXES = frozenset({".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
"""What keeps a number as it is: JPEG would change it."""
BESIDE = ("_mask", "_masks", "_label", "_labels", "_gt", "_L", "_labelIds", "annot", "_annot")
"""What a folder or file of masks is called after the pictures' own name."""
KEPT_BYTES = 2**29
"""Decoded samples of a split stay in memory up to this much; of a larger split each is decoded when it is read."""
_ROTATED = (5, 6, 7, 8)
_ORIENTATION = 0x0112
_NUMBERS = 256


@dataclass(frozen=True)
class Pair:
    """A picture and its mask."""

    picture: Path
    mask: Path


@dataclass(frozen=True)
class Colors:
    """Colors of RGB masks, each for a class number; an ignored one for `IGNORED`."""

    numbers: Mapping[tuple[int, int, int], int]


def images_in(folder: Path, suffixes: frozenset[str] = SUFFIXES) -> list[Path]:
    """Image files below a folder at any depth, in order; hidden ones and what file servers left are left aside."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in suffixes
        and not any(part.startswith(".") or is_left_by_others(part) for part in file.relative_to(folder).parts)
        and file.is_file()
    )


def pairs_across(pictures: Path, masks: Path) -> list[Pair]:
    """The pictures of one folder with the masks of another, which have the same names, or those followed by `_mask`.

    Raises:
        DataError: A picture has no mask.
    """
    known = {file.relative_to(masks).with_suffix("").as_posix(): file for file in images_in(masks, MASK_SUFFIXES)}
    found = []
    for picture in images_in(pictures):
        stem = picture.relative_to(pictures).with_suffix("").as_posix()
        mask = next((known[name] for name in (stem, *(stem + each for each in BESIDE)) if name in known), None)
        if mask is None:
            raise _without_mask(picture, masks / f"{stem}.png")
        found.append(Pair(picture, mask))
    return found


def pairs_beside(folder: Path) -> list[Pair]:
    """Pictures that lie beside their masks, `NAME.jpg` beside `NAME_mask.png`.

    Raises:
        DataError: A picture has no mask.
    """
    files = images_in(folder)
    known = {file.with_suffix("").as_posix(): file for file in files if file.suffix.lower() in MASK_SUFFIXES}
    pictures = [file for file in files if not file.stem.endswith(BESIDE)]
    found = []
    for picture in pictures:
        stem = picture.with_suffix("").as_posix()
        mask = next((known[stem + each] for each in BESIDE if stem + each in known), None)
        if mask is None:
            raise _without_mask(picture, picture.with_name(f"{picture.stem}_mask.png"))
        found.append(Pair(picture, mask))
    return found


def _without_mask(picture: Path, wanted: Path) -> DataError:
    return DataError(
        "has no mask",
        where=str(picture),
        hint=f"add {wanted} (a mask is a {', '.join(sorted(MASK_SUFFIXES))} of class numbers, or of colors), or remove it",
    )


@dataclass(frozen=True)
class Looked:
    """What was seen of a picture and its mask.

    Attributes:
        digest: SHA-256 of both files; empty for one that cannot be read.
        size: Width and height; nothing where they cannot be read.
        numbers: `[256]` bool, the numbers in the mask.
    """

    digest: bytes
    size: tuple[int, int] | None
    numbers: NDArray[np.bool_]


def look_at(pairs: Sequence[Pair], *, colors: Colors | None) -> list[Looked]:
    """Read every picture's size and every mask.

    Raises:
        DataError: A mask is of another size than its picture, or holds what is no class number.
    """

    def look(pair: Pair) -> Looked:
        try:
            raw, raw_mask = content(pair.picture), content(pair.mask)
            size = _size(raw)
            numbers_HW = numbers_of(raw_mask, colors=colors, where=pair.mask)
        except UNREADABLE:
            return Looked(b"", None, np.zeros(_NUMBERS, np.bool_))
        height, width = numbers_HW.shape
        if size != (width, height):
            raise DataError(
                f"is {width} x {height}, and its picture {pair.picture.name} {size[0]} x {size[1]}",
                where=str(pair.mask),
                hint="a mask has a number for each pixel of its picture",
            )
        digest = hashlib.sha256(hashlib.sha256(raw).digest() + hashlib.sha256(raw_mask).digest()).digest()
        return Looked(digest, size, np.bincount(numbers_HW.reshape(-1), minlength=_NUMBERS) > 0)

    with ThreadPoolExecutor(num_threads()) as pool:
        return list(pool.map(look, pairs))


def _size(raw: bytes) -> tuple[int, int]:
    """Width and height of a picture as it is shown."""
    with Image.open(io.BytesIO(raw), formats=IMAGE_FORMATS) as image:
        bounded(image)
        width, height = image.size
        return (height, width) if image.getexif().get(_ORIENTATION) in _ROTATED else (width, height)


def picture_of(raw: bytes, *, width: int, height: int) -> NDArray[np.uint8]:
    """A picture's bytes as upright RGB `[3, height, width]`, resized (bicubic) where it has another size."""
    with Image.open(io.BytesIO(raw), formats=IMAGE_FORMATS) as image:
        bounded(image)
        upright = rgb(ImageOps.exif_transpose(image))
        if upright.size != (width, height):
            upright = upright.resize((width, height), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(upright).transpose(2, 0, 1))


def numbers_of(raw: bytes, *, colors: Colors | None, where: Path) -> NDArray[np.uint8]:
    """A mask's bytes as the numbers in it `[H, W]`: of a palette, of gray values, or of the classes of its colors.

    Raises:
        DataError: Colors without a list of them, one that is not in it, or numbers above 255.
        OSError: And the others of `UNREADABLE`.
    """
    with Image.open(io.BytesIO(raw), formats=IMAGE_FORMATS) as image:
        bounded(image)
        mode = image.mode
        array = np.asarray(image if mode != "1" else image.convert("L")) // (255 if mode == "1" else 1)
    if array.ndim == 3 and mode in ("LA", "La"):
        array = array[..., 0]
    if array.ndim == 3:
        return _of_colors(array[..., :3], colors, where=where)
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= _NUMBERS:
        told = f"holds {array.min()} to {array.max()} (mode {mode})"
        raise DataError(
            told, where=str(where), hint="class numbers are whole numbers from 0 to 254, and 255 is ignored"
        )
    return np.ascontiguousarray(array.astype(np.uint8))


def _of_colors(array_HW3: NDArray[Any], colors: Colors | None, *, where: Path) -> NDArray[np.uint8]:
    if array_HW3.dtype == np.uint8 and colors is None:
        if (array_HW3[..., :1] == array_HW3).all():  # gray, written in three channels
            return np.ascontiguousarray(array_HW3[..., 0])
        hint = (
            "write the classes with their colors into classes.txt beside the folders: a line 'road 128 64 128' for each"
        )
        raise DataError("is a mask of colors, and nothing says which class each is", where=str(where), hint=hint)
    assert colors is not None
    packed_HW = (array_HW3.astype(np.int64) * (1 << 16, 1 << 8, 1)).sum(axis=2)
    known = np.array([(r << 16) + (g << 8) + b for r, g, b in colors.numbers], np.int64)
    numbers = np.array(list(colors.numbers.values()), np.uint8)
    order = np.argsort(known)
    place_HW = np.minimum(np.searchsorted(known, packed_HW, sorter=order), len(known) - 1)
    strange = known[order[place_HW]] != packed_HW
    if strange.any():
        color = tuple(int(each) for each in array_HW3[tuple(np.argwhere(strange)[0])])
        hint = "add it to classes.txt; a line 'void R G B' names a color that is ignored"
        raise DataError(f"holds the color {color}, which is of no class", where=str(where), hint=hint)
    found_HW: NDArray[np.uint8] = numbers[order[place_HW]]
    return found_HW


_COLORED = re.compile(r"(?:(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+)?(.*?)(?:[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\d+))?")


def classes_in(text: str, *, where: Path) -> tuple[tuple[str, ...], Colors | None, int | None]:
    """Names of the classes, their colors where the file states them, and the number that it says is ignored.

    Raises:
        DataError: Some lines have colors and others none, or two classes have one name.
    """
    names: list[str] = []
    found: dict[tuple[int, int, int], int] = {}
    ignored: int | None = None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for position, line in enumerate(lines):
        match = _COLORED.fullmatch(line)
        assert match is not None, "every part of it may be empty"
        groups = match.groups()
        values = [int(each) for each in (groups[:3] if groups[0] else groups[4:]) if each]
        name = groups[3].strip() or line
        is_void = name.lower() in ("void", "ignore", "ignored", "unlabeled", "unlabelled")
        if is_void and (values or position == len(lines) - 1):
            ignored = position
        elif is_void:
            hint = "a class that is ignored is the last line, so that numbers stay as they are; or give option ignore"
            raise DataError(f"'{name}' is not the last line", where=str(where), hint=hint)
        if values:
            red, green, blue = values
            found[red, green, blue] = IGNORED if is_void else len(names)
        if not is_void:
            names.append(name)
    if found and len(found) != len(lines):
        raise DataError("some classes have a color and some none", where=str(where), hint="give each its own, R G B")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"'{twice}' is listed twice", where=str(where), hint="each class has a name of its own")
    return tuple(names), Colors(found) if found else None, None if found else ignored


class MaskSamples:
    """Pictures with their masks, decoded when they are fetched; those of a small split are kept in memory.

    Args:
        pairs: The files.
        width: Of the samples.
        height: Likewise; pictures of another size are resized (bicubic), masks by the nearest pixel.
        table: `[256]` uint8, what each number in a file stands for: a class, or `IGNORED`.
        known: `[256]`, which numbers may be in a file; another is an error when it is read.
        colors: Of RGB masks.
        digests: `[N, 32]` uint8, of each picture with its mask.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        width: int,
        height: int,
        table: NDArray[np.uint8],
        known: NDArray[np.bool_],
        colors: Colors | None,
        digests: NDArray[np.uint8],
    ) -> None:
        self.pairs = list(pairs)
        self._width, self._height, self._table, self._known, self._colors = width, height, table, known, colors
        self._digests = digests
        self.inputs = Schema.of(TensorSpec("image", "uint8", (3, height, width)))
        self.targets = Schema.of(TensorSpec(MASK, "uint8", (height, width)))
        self.labelled = np.ones(len(self.pairs), np.bool_)
        keeps = len(self.pairs) * 4 * width * height <= KEPT_BYTES
        self._pictures: dict[int, NDArray[np.uint8]] | None = {} if keeps else None
        self._masks: dict[int, NDArray[np.uint8]] | None = {} if keeps else None
        self._pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The pictures at `positions`.

        Raises:
            DataError: A file cannot be read.
        """
        return {"image": self._all(self._picture, self._pictures, positions, (3, self._height, self._width))}

    def fetch_targets(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Their masks.

        Raises:
            DataError: A file cannot be read, or holds a number of no class.
        """
        return {MASK: self._all(self._mask, self._masks, positions, (self._height, self._width))}

    def content_hashes(self) -> NDArray[np.uint64]:
        """A number for the content of each picture with its mask `[N]`, alike for those that are alike."""
        return np.ascontiguousarray(self._digests[:, :8]).view(np.uint64)[:, 0]

    def _all(
        self, read: Any, kept: dict[int, NDArray[np.uint8]] | None, positions: NDArray[np.int64], shape: tuple[int, ...]
    ) -> NDArray[np.uint8]:
        found = np.empty((len(positions), *shape), np.uint8)

        def fill(row: int) -> None:
            position = int(positions[row])
            array = None if kept is None else kept.get(position)
            if array is None:
                array = read(self.pairs[position])
                if kept is not None:
                    kept[position] = array
            found[row] = array

        if kept is not None and all(int(position) in kept for position in positions):
            for row in range(len(positions)):
                fill(row)
            return found
        if self._pool is None:
            self._pool = ThreadPoolExecutor(num_threads(), thread_name_prefix="decode")
        list(self._pool.map(fill, range(len(positions))))
        return found

    def _picture(self, pair: Pair) -> NDArray[np.uint8]:
        try:
            return picture_of(content(pair.picture), width=self._width, height=self._height)
        except UNREADABLE as fault:
            raise _unreadable(pair.picture, fault) from fault

    def _mask(self, pair: Pair) -> NDArray[np.uint8]:
        try:
            numbers_HW = numbers_of(content(pair.mask), colors=self._colors, where=pair.mask)
        except UNREADABLE as fault:
            raise _unreadable(pair.mask, fault) from fault
        if not self._known[numbers_HW].all():
            strange = int(numbers_HW[~self._known[numbers_HW]].min())
            raise out_of_range(strange, pair.mask, int(self._known[:IGNORED].sum()))
        found_HW = self._table[numbers_HW]
        if found_HW.shape != (self._height, self._width):
            resized = Image.fromarray(found_HW).resize((self._width, self._height), Image.Resampling.NEAREST)
            found_HW = np.asarray(resized)
        return found_HW


def out_of_range(number: int, mask: Path, num_classes: int) -> DataError:
    """A mask holds a number that is no class."""
    return DataError(
        f"holds {number}, and there are {num_classes} classes, 0 to {num_classes - 1}",
        where=str(mask),
        hint=f"name all classes in classes.txt, or say that it is ignored: --set data.options.ignore={number}",
    )


def _unreadable(file: Path, fault: BaseException) -> DataError:
    return DataError(f"cannot be read: {fault}", where=str(file), hint="remove or mend the file, with its pair")


def digest_of_names(pairs: Sequence[Pair], *, root: Path) -> bytes:
    """SHA-256 over names and sizes of the files."""
    digest = hashlib.sha256()
    for pair in pairs:
        for file in (pair.picture, pair.mask):
            digest.update(os.fsencode(file.relative_to(root)) + f" {file.stat().st_size}\n".encode())
    return digest.digest()

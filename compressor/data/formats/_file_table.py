"""The image files of one split as a compact table: a million of them take some ten megabytes, not hundreds."""

from __future__ import annotations

import bisect
import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor.data.formats._image_files import SUFFIXES
from compressor.errors import DataError

_LEFT_BY_OTHERS = frozenset(
    {
        "@eadir",
        "#recycle",
        "#snapshot",
        "__macosx",
        ".ipynb_checkpoints",
        "$recycle.bin",
        "lost+found",
        "system volume information",
    }
)
"""Folders, in small letters, that a file server, an archive or a notebook puts beside pictures: thumbnails and copies."""
_OF_THE_DESKTOP = frozenset({"thumbs.db", "desktop.ini"})
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


class FileTable:
    """Files of a folder with a subfolder for each class, by class and then by name.

    Args:
        folder: Of the split.
        classes: Names of the class folders.
        names: Paths of the files relative to `folder`, one after the other.
        lengths: `[N]`, bytes of each.
        labels: `[N]`, position of each file's class.
        sizes: `[N]`, bytes.
        times: `[N]`, when each file was changed, in nanoseconds.
        left_out: What lies beside them and is not read, with how many of it there are.
    """

    def __init__(
        self,
        folder: Path,
        classes: tuple[str, ...],
        names: bytes,
        *,
        lengths: NDArray[np.int64],
        labels: NDArray[np.int64],
        sizes: NDArray[np.int64],
        times: NDArray[np.int64],
        left_out: Mapping[str, int],
    ) -> None:
        self.left_out = left_out
        self.folder, self.classes, self.labels = folder, classes, labels
        self._sizes, self._times = sizes, times
        self._names = names
        self._ends = np.cumsum(lengths)

    def __len__(self) -> int:
        return len(self._ends)

    def name(self, position: int) -> str:
        """Path of a file relative to the split's folder, with forward slashes."""
        start = int(self._ends[position - 1]) if position else 0
        return os.fsdecode(self._names[start : int(self._ends[position])])

    def path(self, position: int) -> Path:
        """Path of a file."""
        return self.folder / self.name(position)

    def digest(self, *, times: bool) -> bytes:
        """SHA-256 over names and sizes, and over the times of change where a copy elsewhere need not be the same."""
        digest = hashlib.sha256(b"\n".join(os.fsencode(name) for name in self.classes))
        for part in (self._ends, self._sizes, self._times if times else self.labels):
            digest.update(np.ascontiguousarray(part).data)
        digest.update(self._names)
        return digest.digest()


class TableSet:
    """The tables of all splits of a set, whose files are counted through.

    Attributes:
        tables: Split -> its files.
    """

    def __init__(self, tables: Mapping[str, FileTable]) -> None:
        self.tables = tables
        self._splits = list(tables)
        self._ends = np.cumsum([len(table) for table in tables.values()]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def first(self, split: str) -> int:
        """Number of the first file of a split."""
        return int(self._ends[self._splits.index(split)]) - len(self.tables[split])

    def path(self, number: int) -> Path:
        """Path of a file."""
        split = self._splits[bisect.bisect_right(self._ends, number)]
        return self.tables[split].path(number - self.first(split))

    def digest(self, *, times: bool) -> bytes:
        """SHA-256 over the tables of all splits."""
        parts = [f"{split} ".encode() + table.digest(times=times) for split, table in self.tables.items()]
        return hashlib.sha256(b"".join(parts)).digest()


def list_files(folder: Path, class_folders: Sequence[Path]) -> FileTable:
    """The image files in each class folder at any depth, hidden files and folders left aside.

    Raises:
        DataError: A class folder without images.
    """
    table = _listed(folder, {each.name: each for each in class_folders})
    counts = np.bincount(table.labels, minlength=len(class_folders))
    empty = [each.name for each, count in zip(class_folders, counts, strict=True) if count == 0]
    if empty:
        hint = "fill or remove each folder that has none"
        if table.left_out:
            hint = f"{told_of(table.left_out)} are not read: convert them to JPEG or PNG, or remove the folder"
        raise DataError(f"no images in {', '.join(empty)}", where=str(folder), hint=hint)
    return table


def list_all_files(folder: Path, *, without: Collection[str] = ()) -> FileTable:
    """The image files below a folder at any depth, without labels; hidden files and folders are left aside.

    Args:
        folder: Where to look.
        without: Names of folders directly in it that are left aside too.

    Raises:
        DataError: There is none.
    """
    table = _listed(folder, {".": folder}, without=without)
    if not len(table):
        hint = (
            f"what lies in {', '.join(sorted(without))} is left out; name the folder inside to take it"
            if without
            else None
        )
        if table.left_out:
            hint = f"{told_of(table.left_out)} are not read: convert them to JPEG or PNG"
        raise DataError("no images here", where=str(folder), hint=hint)
    table.labels = np.full(len(table), -1, np.int64)
    return table


def split_of(folder: Path) -> str:
    """Which split a folder's name means; empty for none."""
    return _SPLIT_NAMES.get(folder.name.lower(), "")


def holds_images(folder: Path) -> bool:
    """Whether an image file lies in a folder itself."""
    with os.scandir(folder) as entries:
        return any(_is_image(entry) for entry in entries if not entry.name.startswith("."))


def is_left_by_others(name: str) -> bool:
    """Whether a folder's name says that a file server, an archive or a notebook put it there."""
    return name.lower() in _LEFT_BY_OTHERS


def beside_classes(folder: Path) -> Counter[str]:
    """What lies in a folder of class folders and is of no class: pictures, and folders that others left."""
    found: Counter[str] = Counter()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if is_left_by_others(entry.name):
                    found += _images_in(entry)
            elif _is_image(entry) and not entry.name.startswith("."):
                found["pictures in no class folder"] += 1
    return found


def told_of(left_out: Mapping[str, int]) -> str:
    """What was left out, in words."""
    return ", ".join(f"{count} {what}" for what, count in sorted(left_out.items()))


def _listed(folder: Path, parts_of: Mapping[str, Path], *, without: Collection[str] = ()) -> FileTable:
    """The image files in each of some folders, whose names stand before theirs."""
    names = bytearray()  # of one class after the other, so that a million names never are a million objects
    parts: dict[str, list[NDArray[np.int64]]] = {"lengths": [], "sizes": [], "times": []}
    counts: list[int] = []
    left_out: Counter[str] = Counter()
    for name, part in parts_of.items():
        found = sorted(_walk(str(part), name, left_out, without=without))
        encoded = [os.fsencode(each) for each, _, _ in found]
        names += b"".join(encoded)
        counts.append(len(found))
        parts["lengths"].append(np.array([len(each) for each in encoded], np.int64))
        parts["sizes"].append(np.array([size for _, size, _ in found], np.int64))
        parts["times"].append(np.array([time for _, _, time in found], np.int64))
    return FileTable(
        folder,
        tuple(parts_of),
        bytes(names),
        labels=np.repeat(np.arange(len(parts_of), dtype=np.int64), counts),
        **{name: np.concatenate(part) for name, part in parts.items()},
        left_out=left_out,
    )


def _walk(
    folder: str, name: str, left_out: Counter[str], *, without: Collection[str] = ()
) -> Iterator[tuple[str, int, int]]:
    """Relative name, size and time of change of each image file below a folder; other files are counted by what they are."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_left_by_others(entry.name) and entry.is_dir():
                left_out.update(_images_in(entry))
                continue
            if entry.name.startswith(".") or entry.name in without:
                continue
            inner = f"{name}/{entry.name}"
            if entry.is_dir():
                yield from _walk(entry.path, inner, left_out)
            elif _is_image(entry):
                state = entry.stat()
                yield inner, state.st_size, state.st_mtime_ns
            elif entry.name.lower() not in _OF_THE_DESKTOP:
                left_out[f"{_suffix(entry.name) or 'other'} files"] += 1


def _images_in(folder: os.DirEntry[str]) -> Counter[str]:
    """How many image files lie below a folder that is left out, whatever it is."""
    paths = (name for _, _, names in os.walk(folder.path) for name in names)
    count = sum(_suffix(name) in SUFFIXES for name in paths)
    return Counter({f"pictures in {folder.name}": count} if count else {})


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 -- a million times


def _is_image(entry: os.DirEntry[str]) -> bool:
    return _suffix(entry.name) in SUFFIXES and entry.is_file()

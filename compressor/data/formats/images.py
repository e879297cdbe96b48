"""Image files in a folder per class. How one file becomes pixels is in `_image_files.py`.

Every file is read once when the set is opened: that gives the fingerprint, finds the damaged ones, and, where the set
fits in memory, decodes it for good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from compressor.artifact import Decision
from compressor.data.formats._image_files import SUFFIXES, UNREADABLE, FileSamples, decode, num_threads, short_side
from compressor.data.samples import ArraySamples, Samples, Splits, SubsetSamples
from compressor.errors import DataError

IN_MEMORY_BYTES = 2 * 2**30
MAX_AUTO_SIDE = 224
_MEASURED_FILES = 100
_SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def images(path: Path, *, image_size: int = 0) -> Splits:
    """A folder of image files for each class, directly or below train/, val/ and test/.

    Args:
        path: The folder; `valid/` and `validation/` are read as `val/`.
        image_size: side in pixels of the square images are brought to; 0 takes their median short side, at most 224

    Raises:
        DataError: No class folders, an empty one, splits with different classes, or no readable image.
    """
    if image_size < 0:
        raise DataError(f"{image_size} is no size", where="data.options.image_size", hint="write pixels, or 0 for auto")
    folders = _split_folders(path)
    listings = {split: _list(folder) for split, folder in folders.items()}
    _require_same_classes(listings, folders)
    decisions = []
    side = image_size
    if side == 0:
        side, reason = _auto_side([file for listing in listings.values() for file in listing.files], where=path)
        decisions.append(Decision("data.options.image_size", str(side), reason))
    in_memory, reason = _fits_in_memory(sum(len(listing.files) for listing in listings.values()), side=side)
    decisions.append(Decision("images kept in memory", "yes" if in_memory else "no", reason))
    digest = hashlib.sha256(f"{side}\n".encode())
    samples: dict[str, Samples] = {}
    unreadable: list[str] = []
    for split, listing in listings.items():
        read = _read(listing, side=side, in_memory=in_memory)
        samples[split] = read.samples
        for file, content in zip(listing.files, read.hashes, strict=True):
            digest.update(f"{split}/{file.relative_to(listing.folder).as_posix()} {content}\n".encode())
        unreadable += [listing.files[position].relative_to(path).as_posix() for position in read.unreadable]
    return Splits(
        classes=listings["train"].classes,
        train=samples["train"],
        val=samples.get("val"),
        test=samples.get("test"),
        fingerprint=digest.hexdigest(),
        decisions=tuple(decisions),
        unreadable=tuple(unreadable),
    )


@dataclass(frozen=True)
class _Listing:
    """The image files of one split; a label is a position in `classes`."""

    folder: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class _Read:
    """The samples of one split, the hash of each file, and the positions of those that could not be read."""

    samples: Samples
    hashes: Sequence[str]
    unreadable: Sequence[int]


def _split_folders(path: Path) -> dict[str, Path]:
    """Split -> folder; only `train` when the classes lie directly in `path`."""
    if not path.is_dir():
        raise DataError("is not a folder", where=str(path), hint="write images:FOLDER")
    found = _subfolders(path)
    # A class may itself be called "train": it holds images, a split holds folders.
    if not any(folder.name == "train" and _subfolders(folder) for folder in found):
        if found and all(folder.name in _SPLIT_NAMES for folder in found):
            names = ", ".join(folder.name for folder in found)
            raise DataError(f"holds {names} but no train/ with a folder for each class", where=str(path))
        return {"train": path}
    splits: dict[str, Path] = {}
    for folder in found:
        split = _SPLIT_NAMES.get(folder.name)
        if split is None:
            raise DataError(
                f"holds '{folder.name}' beside train/", where=str(path), hint="keep only train/, val/ and test/ here"
            )
        if split in splits:
            raise DataError(f"holds both '{splits[split].name}' and '{folder.name}'", where=str(path))
        splits[split] = folder
    return {split: splits[split] for split in ("train", "val", "test") if split in splits}


def _subfolders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _list(folder: Path) -> _Listing:
    class_folders = _subfolders(folder)
    if not class_folders:
        raise DataError(
            "holds no class folders", where=str(folder), hint="put the images of each class in a folder named after it"
        )
    files_by_class = [_image_files(class_folder) for class_folder in class_folders]
    empty = [entry.name for entry, files in zip(class_folders, files_by_class, strict=True) if not files]
    if empty:
        raise DataError(
            f"no images in {', '.join(empty)}", where=str(folder), hint="fill or remove each folder that has none"
        )
    return _Listing(
        folder=folder,
        classes=tuple(entry.name for entry in class_folders),
        files=tuple(file for files in files_by_class for file in files),
        labels=np.repeat(np.arange(len(class_folders), dtype=np.int64), [len(files) for files in files_by_class]),
    )


def _image_files(folder: Path) -> list[Path]:
    """Image files at any depth, hidden files and folders left aside."""
    files = [
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    ]
    return sorted(files, key=lambda file: file.relative_to(folder).as_posix())


def _require_same_classes(listings: Mapping[str, _Listing], folders: Mapping[str, Path]) -> None:
    train = set(listings["train"].classes)
    for split, listing in listings.items():
        missing, extra = sorted(train - set(listing.classes)), sorted(set(listing.classes) - train)
        parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(extra)}"] * bool(extra)
        if parts:
            raise DataError(f"{' and '.join(parts)}, unlike train/", where=str(folders[split]))


def _auto_side(files: Sequence[Path], *, where: Path) -> tuple[int, str]:
    """Side in pixels and the reason for it."""
    spread = np.unique(np.linspace(0, len(files) - 1, _MEASURED_FILES).round().astype(int))
    sides = []
    for position in spread:
        try:
            sides.append(short_side(files[position]))
        except UNREADABLE:
            continue
    if not sides:
        raise DataError(f"none of {len(spread)} images looked at can be read", where=str(where))
    typical = int(median(sides))
    return min(typical, MAX_AUTO_SIDE), (
        f"the median short side of {len(sides)} images is {typical}; at most {MAX_AUTO_SIDE} is taken by itself"
    )


def _fits_in_memory(num_images: int, *, side: int) -> tuple[bool, str]:
    size_bytes = num_images * 3 * side * side
    fits = size_bytes <= IN_MEMORY_BYTES
    return fits, (
        f"{num_images} images of 3 x {side} x {side} take {size_bytes / 2**30:.2f} GiB; up to "
        f"{IN_MEMORY_BYTES / 2**30:g} GiB are decoded once, more are decoded each time they are read"
    )


def _read(listing: _Listing, *, side: int, in_memory: bool) -> _Read:
    kept = np.empty((len(listing.files), 3, side, side), np.uint8) if in_memory else None

    def read(position: int) -> tuple[str, bool]:
        content = ""
        try:
            raw = listing.files[position].read_bytes()
            content = hashlib.sha256(raw).hexdigest()
            pixels = decode(raw, side=side)
        except UNREADABLE:
            return content, False
        if kept is not None:
            kept[position] = pixels
        return content, True

    with ThreadPoolExecutor(num_threads()) as pool:
        results = list(pool.map(read, range(len(listing.files))))
    readable = np.array([ok for _, ok in results])
    samples: Samples
    if kept is not None:
        samples = ArraySamples(kept, listing.labels)
    else:
        samples = FileSamples(listing.files, listing.labels, side=side)
    if not readable.all():
        samples = SubsetSamples(samples, np.flatnonzero(readable))
    return _Read(samples, [content for content, _ in results], np.flatnonzero(~readable).tolist())

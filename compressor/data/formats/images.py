"""Image files in a folder per class. How one file becomes pixels is in `_image_files.py`.

A set whose pixels fit on the disk is decoded once into a store that later runs find again (`_pixel_store.py`); a larger one
is decoded whenever it is read, by threads, and opens as fast as its folders can be listed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from compressor import caches, console
from compressor.artifact import Decision
from compressor.data.formats._file_table import (
    FileTable,
    TableSet,
    beside_classes,
    holds_images,
    is_left_by_others,
    list_all_files,
    list_files,
    split_of,
    told_of,
)
from compressor.data.formats._image_files import (
    DECODER,
    SUFFIXES,
    UNREADABLE,
    FileSamples,
    readable_among,
    short_side,
)
from compressor.data.formats._pixel_store import StoredPictures, StoredSamples, find_or_make, room_for
from compressor.data.samples import FILES_LEFT_OUT, Samples, Splits, SubsetSamples
from compressor.errors import ArtifactError, DataError

STORED_BYTES = 8 * 2**30
MAX_AUTO_SIDE = 224
_MEASURED_FILES = 100
_SAMPLED_FILES = 1000
_NAMED = 5


def images(path: Path, *, image_size: int = 0, decode: str = "auto", labels: bool = True) -> Splits:
    """A folder of image files for each class, directly or below train/, val/ and test/.

    All files are looked at beforehand where they are decoded once. Of a larger set that is streamed, 1000 are: a broken one
    among the others is an error when it is read.

    Args:
        path: The folder; `training/` is read as `train/`, `testing/` as `test/`, `valid/` and `validation/` as `val/`, in
            capitals or not.
        image_size: side in pixels of the square images are brought to; 0 takes their median short side, at most 224
        decode: once (into a store that later runs find again), stream (each time they are read), or auto
        labels: with false, no class folders are needed: files at any depth count, and none has a label

    Raises:
        DataError: No class folders, or none with images of its own, splits with different classes, or no readable image.
    """
    if image_size < 0:
        raise DataError(f"{image_size} is no size", where="data.options.image_size", hint="write pixels, or 0 for auto")
    if decode not in ("auto", "once", "stream"):
        hint = "write auto, once or stream"
        raise DataError(f"'{decode}' is no way to decode images", where="data.options.decode", hint=hint)
    if labels:
        folders = _split_folders(path)
        files = TableSet(
            {split: list_files(folder, _class_folders(folder, root=path)) for split, folder in folders.items()}
        )
        _require_same_classes(files.tables, folders)
        beside = sum(map(beside_classes, {path, *folders.values()}), Counter[str]())
    else:
        root = _unwrapped(path)
        files = TableSet(_unlabelled_tables(root))
        walked = any(table.folder == root for table in files.tables.values())
        beside = Counter[str]() if walked else beside_classes(root)
    decisions = _left_out(files, beside)
    side = image_size
    if side == 0:
        side, reason = _auto_side(files, where=path)
        decisions.append(Decision("data.options.image_size", str(side), reason))
    pictures, why = _stored(files, side=side, wanted=decode, source=path)
    decisions.append(why)
    if pictures is None:
        return _streamed(files, side=side, root=path, decisions=decisions)
    return _from_store(files, pictures, side=side, root=path, decisions=decisions)


def _left_out(files: TableSet, beside: Counter[str]) -> list[Decision]:
    """What lies among the pictures and was not taken for one."""
    found = sum((Counter(table.left_out) for table in files.tables.values()), beside)
    if not found:
        return []
    reason = f"read are {', '.join(sorted(SUFFIXES))} in the folders of the classes"
    return [Decision(FILES_LEFT_OUT, told_of(found), reason)]


def _stored(files: TableSet, *, side: int, wanted: str, source: Path) -> tuple[StoredPictures | None, Decision]:
    """The pictures of the set decoded for good, if they are to be and can be; and why."""
    size_bytes = len(files) * 3 * side * side
    about = f"{len(files)} images of 3 x {side} x {side} take {size_bytes / 2**30:.2f} GiB"
    if wanted == "stream":
        return None, Decision("data.options.decode", "stream", "as stated")
    if wanted == "auto" and size_bytes > STORED_BYTES:
        reason = (
            f"{about}; up to {STORED_BYTES / 2**30:g} GiB are decoded once, more are decoded each time they are read"
        )
        return None, Decision("data.options.decode", "stream", reason)
    key = hashlib.sha256(f"{DECODER} {side} ".encode() + files.digest(times=True)).hexdigest()[:16]
    if not room_for(size_bytes, caches.root()):
        reason = f"{about}, more than is left on the disk of {caches.root()}"
        return None, Decision("data.options.decode", "stream", reason)
    try:
        folder = caches.open_cache("pixels", key, {"data": f"images:{source.resolve()}", "image_size": side})
        pictures, found = find_or_make(folder, count=len(files), side=side, path=files.path)
    except (ArtifactError, OSError) as fault:
        console.note(f"data: decoded pictures are not kept, so each is decoded whenever it is read: {fault}")
        return None, Decision("data.options.decode", "stream", f"{about}, but they cannot be kept: {fault}")
    told = "and were found decoded" if found else "and have been decoded for this run and later ones"
    return pictures, Decision("data.options.decode", "once", f"{about}, {told}")


def _from_store(
    files: TableSet, pictures: StoredPictures, *, side: int, root: Path, decisions: list[Decision]
) -> Splits:
    """Splits that read from a store; their fingerprint is that of the content of all files."""
    digest = hashlib.sha256(f"{side}\n".encode())
    samples: dict[str, Samples] = {}
    unreadable: list[str] = []
    for split, table in files.tables.items():
        first = files.first(split)
        for position in range(len(table)):
            content = (
                pictures.hashes[first + position].tobytes().hex() if pictures.hashes[first + position].any() else ""
            )
            digest.update(f"{split}/{table.name(position)} {content}\n".encode())
        readable = pictures.readable[first : first + len(table)]
        samples[split] = StoredSamples(pictures, first=first, labels=table.labels)
        if not readable.all():
            samples[split] = SubsetSamples(samples[split], np.flatnonzero(readable))
        unreadable += _names(table, np.flatnonzero(~readable).tolist(), root=root)
    return _splits(files, samples, unreadable, fingerprint=digest.hexdigest(), decisions=decisions)


def _streamed(files: TableSet, *, side: int, root: Path, decisions: list[Decision]) -> Splits:
    """Splits that decode whenever they are read; some files stand for all in what is checked and in the fingerprint."""
    some = np.unique(np.random.default_rng(0).integers(0, len(files), _SAMPLED_FILES))
    digest = hashlib.sha256(f"stream {side}\n".encode() + files.digest(times=False))
    contents = readable_among([files.path(position) for position in some.tolist()], side=side)
    digest.update("".join(content for content, _ in contents).encode())
    broken = [position for position, (_, ok) in zip(some.tolist(), contents, strict=True) if not ok]
    samples: dict[str, Samples] = {}
    unreadable: list[str] = []
    for split, table in files.tables.items():
        first = files.first(split)
        inside = [position - first for position in broken if first <= position < first + len(table)]
        samples[split] = FileSamples(table.path, table.labels, side=side)
        if inside:
            samples[split] = SubsetSamples(samples[split], np.setdiff1d(np.arange(len(table)), inside))
        unreadable += _names(table, inside, root=root)
    decisions.append(
        Decision(
            "fingerprint",
            f"names and sizes of all files, content of {len(some)}",
            "a streamed set is not read as a whole before it is used",
        )
    )
    return _splits(files, samples, unreadable, fingerprint=digest.hexdigest(), decisions=decisions, looked_at=len(some))


def _splits(
    files: TableSet,
    samples: Mapping[str, Samples],
    unreadable: list[str],
    *,
    fingerprint: str,
    decisions: list[Decision],
    looked_at: int | None = None,
) -> Splits:
    return Splits(
        classes=files.tables["train"].classes if (files.tables["train"].labels >= 0).all() else (),
        train=samples["train"],
        val=samples.get("val"),
        test=samples.get("test"),
        fingerprint=fingerprint,
        decisions=tuple(decisions),
        unreadable=tuple(unreadable),
        looked_at=looked_at,
    )


def _names(table: FileTable, positions: list[int], *, root: Path) -> list[str]:
    return [table.path(position).relative_to(root).as_posix() for position in positions]


def _split_folders(path: Path) -> dict[str, Path]:
    """Split -> folder; only `train` when the classes lie directly in `path`."""
    found = _subfolders(path)
    # A class may itself be called "train": it holds images, a split holds folders.
    if not any(split_of(folder) == "train" and _subfolders(folder) for folder in found):
        if found and all(split_of(folder) for folder in found):
            names = ", ".join(folder.name for folder in found)
            raise DataError(f"holds {names} but no train/ with a folder for each class", where=str(path))
        return {"train": path}
    for folder in found:
        if not split_of(folder):
            raise DataError(
                f"holds '{folder.name}' beside train/", where=str(path), hint="keep only train/, val/ and test/ here"
            )
    return _named_splits(found, where=path)


def _unlabelled_tables(root: Path) -> dict[str, FileTable]:
    """Split -> its files, whatever its folders hold: what lies neither in val/ nor in test/ is for training."""
    found = _subfolders(root)
    splits = _named_splits([folder for folder in found if split_of(folder)], where=root)
    judging = {split: folder for split, folder in splits.items() if split != "train"}
    if "train" in splits and len(splits) == len(found):
        train = list_all_files(splits["train"])
    else:
        train = list_all_files(root, without={folder.name for folder in judging.values()})
    return {"train": train} | {split: list_all_files(folder) for split, folder in judging.items()}


def _unwrapped(path: Path) -> Path:
    """The folder inside which splits are looked for: a folder alone in another, as archives make them, is gone into."""
    found = _subfolders(path)
    while len(found) == 1 and not split_of(found[0]) and not holds_images(path):
        path, found = found[0], _subfolders(found[0])
    return path


def _named_splits(folders: Sequence[Path], *, where: Path) -> dict[str, Path]:
    """Split -> its folder, in the order train, val, test.

    Raises:
        DataError: Two folders are the same split.
    """
    splits: dict[str, Path] = {}
    for folder in folders:
        split = split_of(folder)
        if split in splits:
            raise DataError(f"holds both '{splits[split].name}' and '{folder.name}'", where=str(where))
        splits[split] = folder
    return {split: splits[split] for split in ("train", "val", "test") if split in splits}


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError("is not a folder", where=str(folder), hint="write images:FOLDER")
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".") and not is_left_by_others(entry.name)
    )


def _class_folders(folder: Path, *, root: Path) -> list[Path]:
    """The folders of the classes.

    Args:
        folder: Of the split.
        root: The folder that was named.

    Raises:
        DataError: There is none, or all hold folders and no image themselves, so that they are no classes.
    """
    found = _subfolders(folder)
    if not found:
        hint = "put the images of each class in a folder named after it"
        raise DataError("holds no class folders", where=str(folder), hint=hint)
    outer = [each for each in found if _subfolders(each) and not holds_images(each)]
    if len(outer) == len(found):
        names = _listed(outer)
        inner = _listed(_subfolders(outer[0]))
        hint = "the images of a class lie in its folder itself; splits are called train/, val/ and test/"
        if len(found) == 1:
            hint = f"write images:{outer[0]}" if folder == root else f"move {inner} one folder up"
        raise DataError(
            f"{names}: no class, since no image lies there but folders ({inner})", where=str(folder), hint=hint
        )
    return found


def _listed(folders: Sequence[Path]) -> str:
    """The names of the first few."""
    return console.first_few([folder.name for folder in folders], _NAMED)


def _require_same_classes(tables: Mapping[str, FileTable], folders: Mapping[str, Path]) -> None:
    train = set(tables["train"].classes)
    for split, table in tables.items():
        missing, extra = sorted(train - set(table.classes)), sorted(set(table.classes) - train)
        parts = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(extra)}"] * bool(extra)
        if parts:
            raise DataError(f"{' and '.join(parts)}, unlike train/", where=str(folders[split]))


def _auto_side(files: TableSet, *, where: Path) -> tuple[int, str]:
    """Side in pixels and the reason for it."""
    spread = np.unique(np.linspace(0, len(files) - 1, _MEASURED_FILES).round().astype(int))
    sides = []
    for position in spread.tolist():
        try:
            sides.append(short_side(files.path(position)))
        except UNREADABLE:
            continue
    if not sides:
        raise DataError(f"none of {len(spread)} images looked at can be read", where=str(where))
    typical = int(median(sides))
    return min(typical, MAX_AUTO_SIDE), (
        f"the median short side of {len(sides)} images is {typical}; at most {MAX_AUTO_SIDE} is taken by itself"
    )

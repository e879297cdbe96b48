"""Pictures beside label pictures, a class for each pixel. How one file becomes pixels or numbers is in `_mask_files.py`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compressor import console
from compressor.artifact import Decision
from compressor.data.formats._file_table import split_of
from compressor.data.formats._mask_files import (
    BESIDE,
    Colors,
    Looked,
    MaskSamples,
    Pair,
    classes_in,
    digest_of_names,
    look_at,
    out_of_range,
    pairs_across,
    pairs_beside,
)
from compressor.data.samples import Splits
from compressor.errors import DataError
from compressor.files import read_bytes
from compressor.tensors import IGNORED

_PICTURES, _MASKS = ("images", "imgs", "image"), ("masks", "labels", "annotations", "mask", "label")
_LOOKED_AT_ALL, _LOOKED_AT = 5000, 1000
_STEP = 32
_MOST_BYTES = 2**20


def masks(path: Path, *, width: int = 0, height: int = 0, ignore: int = -1) -> Splits:
    """Pictures with a mask for each: train/ beside train_mask/, images/ beside masks/, or NAME.jpg beside NAME_mask.png.

    A mask holds a class number for each pixel (gray values or palette), or the color of its class. `classes.txt` names the
    classes, one a line in the order of their numbers, with their colors where masks have some (`road 128 64 128`); a last
    line `void` is no class. All files are looked at beforehand, of more than 5000 every so many.

    Args:
        path: The folder; splits are called train/, val/ and test/, `training/` and so on are read as well.
        width: pixels that samples are brought to; 0 takes the size of the pictures, or the median where they differ
        height: likewise
        ignore: number of pixels that count for nothing, beside 255; -1: the one behind the last class of classes.txt, if any

    Raises:
        DataError: A picture without a mask, a mask of another size, a number or color without a class, or no picture.
    """
    for name, value in (("width", width), ("height", height)):
        if value < 0:
            raise DataError(f"{value} is no size", where=f"data.options.{name}", hint="write pixels, or 0 for auto")
    if not -1 <= ignore <= IGNORED:
        hint = "write a number from 0 to 255, or -1"
        raise DataError(f"{ignore} is in no mask", where="data.options.ignore", hint=hint)
    pairs = _pairs(path)
    names, colors, named_void = _classes(path)
    looked = {split: _looked(each, colors=colors) for split, each in pairs.items()}
    classes, table, known, decisions = _meanings(names, looked, pairs, ignore=ignore, void=named_void, colors=colors)
    wide, high, why_size = _size(looked, width=width, height=height, where=path)
    decisions.append(Decision("data.options.width x height", f"{wide} x {high}", why_size))
    digest = hashlib.sha256(f"masks {wide} {high} {ignore} {classes}\n".encode() + table.tobytes())
    samples, unreadable = {}, []
    for split, all_pairs in pairs.items():
        seen = looked[split]
        broken = {position for position, each in seen.items() if each.size is None}
        unreadable += [all_pairs[position].picture.relative_to(path).as_posix() for position in sorted(broken)]
        readable = [position for position in range(len(all_pairs)) if position not in broken]
        if not readable:
            raise DataError(f"none of {len(all_pairs)} pictures with masks can be read", where=str(path / split))
        digest.update(f"{split} ".encode() + digest_of_names(all_pairs, root=path))
        for position in sorted(seen):
            digest.update(seen[position].digest)
        samples[split] = MaskSamples(
            [all_pairs[position] for position in readable],
            width=wide,
            height=high,
            table=table,
            known=known,
            colors=colors,
            digests=_digests(all_pairs, seen, readable, root=path),
        )
    count = sum(map(len, looked.values()))
    return Splits(
        classes=classes,
        train=samples["train"],
        val=samples.get("val"),
        test=samples.get("test"),
        fingerprint=digest.hexdigest(),
        decisions=tuple(decisions),
        unreadable=tuple(unreadable),
        looked_at=None if count == sum(map(len, pairs.values())) else count,
    )


def _pairs(path: Path) -> dict[str, list[Pair]]:
    """Split -> pictures with their masks.

    Raises:
        DataError: There are none, or one has no mask.
    """
    if not path.is_dir():
        raise DataError("is not a folder", where=str(path), hint="write masks:FOLDER")
    all_pictures, all_masks = _named(path, _PICTURES), _named(path, _MASKS)
    if all_pictures is not None and all_masks is not None:
        splits = {folder: all_masks / folder.name for folder in _split_folders(all_pictures)}
        if not splits:
            return _not_empty({"train": pairs_across(all_pictures, all_masks)}, path)
        for folder, of_split in splits.items():
            if not of_split.is_dir():
                raise DataError("is missing", where=str(of_split), hint=f"put the masks of {folder} there")
        return _not_empty({split_of(p): pairs_across(p, m) for p, m in splits.items()}, path)
    folders = _split_folders(path)
    if not folders:
        return _not_empty({"train": pairs_beside(path)}, path)
    found = {}
    for folder in folders:
        pictures, of_masks = _named(folder, _PICTURES), _named(folder, _MASKS)
        beside = next(
            (path / f"{folder.name}{each}" for each in BESIDE if (path / f"{folder.name}{each}").is_dir()), None
        )
        if pictures is not None and of_masks is not None:
            found[split_of(folder)] = pairs_across(pictures, of_masks)
        else:
            found[split_of(folder)] = pairs_beside(folder) if beside is None else pairs_across(folder, beside)
    if "train" not in found:
        raise DataError(f"holds {', '.join(found)} but no train/", where=str(path))
    return _not_empty(found, path)


def _not_empty(found: Mapping[str, list[Pair]], path: Path) -> dict[str, list[Pair]]:
    empty = [split for split, pairs in found.items() if not pairs]
    if empty:
        hint = "put pictures into train/ and masks of the same names into train_mask/ (likewise val and test)"
        raise DataError(f"holds no pictures with masks for {empty[0]}", where=str(path), hint=hint)
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _split_folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and split_of(each))


def _named(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _classes(path: Path) -> tuple[tuple[str, ...], Colors | None, int | None]:
    file = path / "classes.txt"
    if not file.is_file():
        return (), None, None
    try:
        text = read_bytes(file, most_bytes=_MOST_BYTES).decode("utf-8")
    except (OSError, ValueError) as fault:
        raise DataError(f"cannot be read: {fault}", where=str(file)) from fault
    found = classes_in(text, where=file)
    if not 0 < len(found[0]) < IGNORED:
        raise DataError(f"names {len(found[0])} classes", where=str(file), hint="one class a line, at most 254")
    return found


def _looked(pairs: Sequence[Pair], *, colors: Colors | None) -> dict[int, Looked]:
    positions = list(range(len(pairs)))
    if len(pairs) > _LOOKED_AT_ALL:
        positions = np.unique(np.linspace(0, len(pairs) - 1, _LOOKED_AT).round().astype(int)).tolist()
    seen = look_at([pairs[position] for position in positions], colors=colors)
    return dict(zip(positions, seen, strict=True))


def _meanings(
    names: tuple[str, ...],
    looked: Mapping[str, Mapping[int, Looked]],
    pairs: Mapping[str, Sequence[Pair]],
    *,
    ignore: int,
    void: int | None,
    colors: Colors | None,
) -> tuple[tuple[str, ...], NDArray[np.uint8], NDArray[np.bool_], list[Decision]]:
    """Names of the classes, what each number in a file stands for, which numbers may be there, and what was decided.

    Raises:
        DataError: A mask holds a number without a class.
    """
    seen = np.any([each.numbers for split in looked.values() for each in split.values()], axis=0)
    numbers = np.flatnonzero(seen).tolist()
    table = np.arange(256, dtype=np.uint8)
    decisions = []
    if ignore == -1 and not colors and numbers == [0, IGNORED] and len(names) in (0, 2):
        table[IGNORED] = 1
        known = np.isin(np.arange(256), (0, IGNORED))
        reason = (
            "masks hold 0 and 255 alone, as those of two classes often do; data.options.ignore = 255 says otherwise"
        )
        return names or ("background", "foreground"), table, known, [Decision("masks", "255 is class 1", reason)]
    if not names:
        counted = [number for number in numbers if number not in (IGNORED, ignore)]
        if not counted:
            raise DataError("no mask holds a class", hint="a mask holds class numbers from 0")
        names = tuple(f"class {number}" for number in range(max(counted) + 1))
        told = "there is no classes.txt, so the largest number in the masks says how many there are"
        decisions.append(Decision("classes", str(len(names)), told))
    ignored = {IGNORED} | ({ignore} if ignore >= 0 else set())
    if ignore < 0 and not colors and (void is not None or len(names) in numbers):
        behind = len(names) if void is None else void
        ignored.add(behind)
        reason = "classes.txt calls it void" if void is not None else "it is the number behind the last class"
        decisions.append(Decision("data.options.ignore", str(behind), reason))
    table[list(ignored)] = IGNORED
    known = (np.arange(256) < len(names)) | np.isin(np.arange(256), list(ignored))
    strange = np.flatnonzero(seen & ~known)
    if len(strange):
        number = int(strange[0])
        at = next(
            pairs[split][position].mask
            for split, each in looked.items()
            for position, found in each.items()
            if found.numbers[number]
        )
        raise out_of_range(number, at, len(names))
    return names, table, known, decisions


def _size(looked: Mapping[str, Mapping[int, Looked]], *, width: int, height: int, where: Path) -> tuple[int, int, str]:
    """Width and height of the samples, and why."""
    sizes = Counter(each.size for split in looked.values() for each in split.values() if each.size is not None)
    if not sizes:
        raise DataError("no picture with its mask can be read", where=str(where))
    if width and height:
        return width, height, "as stated"
    wide, high = (int(np.median([each[axis] for each in sizes.elements()])) for axis in (0, 1))
    if width or height:
        scale = width / wide if width else height / high
        return (
            width or max(1, round(wide * scale)),
            height or max(1, round(high * scale)),
            "in the pictures' proportion",
        )
    if len(sizes) == 1:
        return wide, high, "the size of all pictures"
    told = console.first_few([f"{w} x {h}" for (w, h), _ in sizes.most_common(4)], 3)
    stepped = [max(_STEP, round(each / _STEP) * _STEP) for each in (wide, high)]
    return stepped[0], stepped[1], f"pictures are {told}; the median, in steps of {_STEP}"


def _digests(
    pairs: Sequence[Pair], seen: Mapping[int, Looked], readable: Sequence[int], *, root: Path
) -> NDArray[np.uint8]:
    """Of the content of each pair; of its name where it was not looked at."""
    found = [
        seen[position].digest if position in seen else digest_of_names([pairs[position]], root=root)
        for position in readable
    ]
    return np.frombuffer(b"".join(found), np.uint8).reshape(len(found), -1)

"""Named arrays to splits: what the formats that start from arrays share.

The names are `x_train, y_train[, x_val, y_val][, x_test, y_test][, classes]`, or `x, y` in place of `x_train, y_train`.
Labels are whole numbers `[N]` (classes), zeros and ones `[N, K]` (sets of classes), or other floats `[N]` or `[N, K]`
(numbers).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor import label_sets
from compressor.artifact import Decision
from compressor.data.samples import ARRAYS_LEFT_OUT, ArraySamples, Splits, TargetTable
from compressor.errors import DataError
from compressor.tensors import LABEL, MEMBERS, VALUES

LAYOUTS = ("auto", "NCHW", "NHWC", "NCL")
_SERIES = "NCL"
_NO_IMAGES = '; series [N, C, L] are read with data.options.layout = "NCL", and rows of numbers are given flat, [N, F]'
_ALWAYS_ALLOWED, _CLASSES_FOR_EACH_SAMPLE = 1000, 10


def fingerprint(arrays: Mapping[str, NDArray[Any]], *, classes: Sequence[str]) -> str:
    """SHA-256 (hex) of class names and of each array's name, type, shape and content."""
    digest = hashlib.sha256(json.dumps(list(classes)).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.data)
    return digest.hexdigest()


def splits_from_arrays(arrays: Mapping[str, NDArray[Any]], *, layout: str, where: str, labels: bool = True) -> Splits:
    """Splits from arrays named as in the module's docstring.

    Args:
        arrays: Images `[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]` (uint8, or float in 0–1), vectors `[N, F]`, or with the
            layout `NCL` series `[N, C, L]`: C channels at L points in time.
        layout: `auto`, `NCHW`, `NHWC` or `NCL`.
        where: What the arrays came from, for the error text.
        labels: Whether they are needed; without, every sample has the label −1.

    Raises:
        DataError: A name, shape, type or range that does not fit; or images whose layout cannot be told.
    """
    if layout.upper() not in (known.upper() for known in LAYOUTS):
        raise DataError(
            f"layout '{layout}' is unknown", where="data.options.layout", hint=f"write {', '.join(LAYOUTS)}"
        )
    if not labels:
        arrays = _without_labels(arrays)
    names = _names(arrays, where=where)
    x_train, _ = names["train"]
    decisions: tuple[Decision, ...] = ()
    if layout.upper() == _SERIES:
        inputs = {split: _series(arrays[x], name=x, where=where) for split, (x, _) in names.items()}
    else:
        channels_axis, decisions = _channels_axis(arrays[x_train], name=x_train, layout=layout.upper(), where=where)
        inputs = {
            split: _inputs(arrays[x], name=x, channels_axis=channels_axis, where=where)
            for split, (x, _) in names.items()
        }
    numbers = any(_holds_numbers(arrays[y]) for _, y in names.values())
    sets = not numbers and any(arrays[y].ndim == 2 and arrays[y].shape[1] > 1 for _, y in names.values())
    given = {split: arrays[y] for split, (_, y) in names.items()}
    for split, (x, y) in names.items():
        if len(inputs[split]) != len(given[split]):
            raise DataError(f"{x} holds {len(inputs[split])} samples, {y} {len(given[split])} labels", where=where)
    if numbers:
        tables = _values(given, where=where)
        width = tables["train"].arrays[VALUES].shape[1]
        classes = _names_for(width, arrays, what="targets of {} numbers", where=where)
    elif sets:
        tables = {split: _members(array, name=names[split][1], where=where) for split, array in given.items()}
        width = _one_width(list(given.values()), where=where)
        classes = _names_for(width, arrays, what="label sets of {} classes", where=where)
    else:
        found = {split: _labels(array, name=names[split][1], where=where) for split, array in given.items()}
        classes = _classes(arrays, found, where=where)
        tables = {split: _of_labels(labels, name=names[split][1], where=where) for split, labels in found.items()}
    read = {f"{split}/x": array for split, array in inputs.items()}
    read |= _as_fingerprinted(tables)
    samples = {split: ArraySamples({input_name(inputs[split]): inputs[split]}, tables[split]) for split in names}
    used = {"classes", *(name for pair in names.values() for name in pair)}
    if left_out := sorted(set(arrays) - used):
        read_names = ", ".join(sorted(used & set(arrays)))
        decisions += (
            Decision(ARRAYS_LEFT_OUT, ", ".join(left_out), f"the set is made of {read_names}{_meant(left_out)}"),
        )
    return Splits(
        classes=classes,
        train=samples["train"],
        val=samples.get("val"),
        test=samples.get("test"),
        fingerprint=fingerprint(read, classes=classes),
        decisions=decisions,
    )


def _as_fingerprinted(tables: Mapping[str, TargetTable]) -> dict[str, NDArray[Any]]:
    """Targets in the form that fingerprints have always been taken of, so that runs and caches stay what they were."""
    found: dict[str, NDArray[Any]] = {}
    first = 0
    for split, table in tables.items():
        ((name, target),) = table.arrays.items()
        rows = np.arange(first, first + len(table))
        number = target if name == LABEL else label_sets.encode(target) if name == MEMBERS else rows
        found[f"{split}/y"] = np.where(table.labelled, number, -1)
        first += len(table)
    if any(VALUES in table.arrays for table in tables.values()):
        found["targets"] = np.concatenate([table.arrays[VALUES] for table in tables.values()])
    return found


def input_name(array: NDArray[Any]) -> str:
    """What the one input of samples is called: `image` `[N, C, H, W]`, `series` `[N, C, L]`, or `features` `[N, F]`."""
    return {4: "image", 3: "series"}.get(array.ndim, "features")


def _meant(left_out: Sequence[str]) -> str:
    """What arrays should be called that look like a split under another name; empty where none does."""
    other = {"valid": "val", "validation": "val", "dev": "val", "eval": "val", "training": "train", "testing": "test"}
    renamed = []
    for name in left_out:
        part, _, split = name.partition("_")
        if part.lower() in ("x", "y") and split.lower() in other:
            renamed.append(f"{name} would be read as {part.lower()}_{other[split.lower()]}")
    return f"; {', '.join(renamed)}" if renamed else ""


def _without_labels(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The same samples, each with the label −1."""
    named = {"x": "y", "x_train": "y_train", "x_val": "y_val", "x_test": "y_test"}
    kept = {name: array for name, array in arrays.items() if name not in named.values()}
    return kept | {y: np.full(len(kept[x]), -1, np.int64) for x, y in named.items() if x in kept}


def _names(arrays: Mapping[str, NDArray[Any]], *, where: str) -> dict[str, tuple[str, str]]:
    """Split -> names of its samples and labels."""
    short = "x_train" not in arrays and {"x", "y"} <= set(arrays)
    names = {}
    for split in ("train", "val", "test"):
        pair = ("x", "y") if short and split == "train" else (f"x_{split}", f"y_{split}")
        present = [name for name in pair if name in arrays]
        if len(present) == 1 or (split == "train" and not present):
            missing = ", ".join(name for name in pair if name not in arrays)
            raise DataError(
                f"lacks {missing}; it holds {', '.join(sorted(arrays)) or 'nothing'}",
                where=where,
                hint="name the arrays x_train, y_train (x_val, y_val, x_test, y_test, classes), or x and y",
            )
        if present:
            names[split] = pair
    return names


def _channels_axis(
    images: NDArray[Any], *, name: str, layout: str, where: str
) -> tuple[int | None, tuple[Decision, ...]]:
    """The axis of the channels, None where there is none (vectors, grey images `[N, H, W]`)."""
    if images.ndim == 2:
        return None, ()
    if images.ndim == 3:
        return None, (
            Decision(f"layout of {name}", "grey images", f"its shape {images.shape} has no axis of channels"),
        )
    if images.ndim != 4:
        raise DataError(
            f"{name} has the shape {images.shape}", where=where, hint="give images [N, H, W, C] or vectors [N, F]"
        )
    if layout != "AUTO":
        return layout.index("C"), ()
    fitting = [axis for axis in (1, 3) if images.shape[axis] in (1, 3)]
    if len(fitting) != 1:
        raise DataError(
            f"{name} has the shape {images.shape}, in which the channels cannot be told",
            where=where,
            hint='state data.options.layout = "NCHW" or "NHWC"',
        )
    chosen = "NCHW" if fitting[0] == 1 else "NHWC"
    return fitting[0], (Decision(f"layout of {name}", chosen, f"axis {fitting[0]} of {images.shape} has size 1 or 3"),)


def _series(array: NDArray[Any], *, name: str, where: str) -> NDArray[np.float32]:
    """`[N, C, L]` float32, whatever the range: what sensors measure has units of its own."""
    _require_numbers(array, name=name, where=where)
    if array.ndim != 3:
        hint = 'give [N, C, L], or leave out data.options.layout = "NCL"'
        raise DataError(f"{name} has the shape {array.shape}, and series have three axes", where=where, hint=hint)
    return np.ascontiguousarray(array, dtype=np.float32)


def _require_numbers(array: NDArray[Any], *, name: str, where: str) -> None:
    if array.dtype.kind not in "fiu":
        raise DataError(f"{name} is {array.dtype}", where=where, hint="give numbers: uint8 or float")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{name} holds NaN or infinity", where=where)


def _inputs(array: NDArray[Any], *, name: str, channels_axis: int | None, where: str) -> NDArray[Any]:
    """`[N, C, H, W]` uint8 or float32 in 0–1, or `[N, F]` float32."""
    _require_numbers(array, name=name, where=where)
    if array.ndim == 2:
        return array.astype(np.float32)
    is_grey = array.ndim == 3
    if is_grey:
        array = array[:, None]
    elif channels_axis == 3 and array.ndim == 4:
        array = array.transpose(0, 3, 1, 2)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind != "f":
        raise DataError(f"{name} holds images of {array.dtype}", where=where, hint="give uint8 (0-255) or float (0-1)")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if low < 0.0 or high > 1.0:
        raise DataError(
            f"{name} holds float {'grey ' if is_grey else ''}images from {low:g} to {high:g}",
            where=where,
            hint="scale them to 0-1 or give uint8; the network's own normalisation comes later (teacher.normalise)"
            + (_NO_IMAGES if is_grey else ""),
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def _labels(array: NDArray[Any], *, name: str, where: str) -> NDArray[np.int64]:
    """`[N]` from `[N]` or `[N, 1]`."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            f"{name} is {array.dtype} of shape {array.shape}",
            where=where,
            hint="give whole numbers [N], or zeros and ones [N, K] for sets of classes",
        )
    return array.astype(np.int64)


def _of_labels(labels_N: NDArray[np.int64], *, name: str, where: str) -> TargetTable:
    """A table of class numbers.

    Raises:
        DataError: One is below −1.
    """
    if len(labels_N) and labels_N.min() < -1:
        hint = "labels are positions in the classes, or -1 for a training sample that has none"
        raise DataError(f"{name} runs from {labels_N.min()} to {labels_N.max()}", where=where, hint=hint)
    return TargetTable.of_labels(labels_N)


def _members(array: NDArray[Any], *, name: str, where: str) -> TargetTable:
    """Which classes each sample has, from `[N, K]` zeros and ones."""
    hint = f"give zeros and ones [N, K], class indices [N] ({name}.argmax(axis=1)), or floats for numbers to be told"
    if array.ndim != 2 or array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise DataError(f"{name} is {array.dtype} of shape {array.shape}, not zeros and ones", where=where, hint=hint)
    if array.shape[1] > label_sets.MOST_CLASSES:
        message = f"{name} has {array.shape[1]} classes; sets are of {label_sets.MOST_CLASSES} at most"
        raise DataError(message, where=where)
    return TargetTable({MEMBERS: array.astype(np.bool_)})


def _holds_numbers(array: NDArray[Any]) -> bool:
    """Whether labels are floats that are no zeros and ones of sets."""
    if array.dtype.kind != "f":
        return False
    return array.ndim == 1 or array.shape[1] == 1 or not np.isin(array, (0, 1)).all()


def _values(given: Mapping[str, NDArray[Any]], *, where: str) -> dict[str, TargetTable]:
    """The targets of each split, `[N, K]` numbers; a sample with a NaN has none."""
    arrays = {split: array[:, None] if array.ndim == 1 else array for split, array in given.items()}
    for split, array in arrays.items():
        if array.ndim != 2 or array.dtype.kind not in "fiu":
            message = f"y of the {split} split is {array.dtype} of shape {array.shape}"
            raise DataError(message, where=where, hint="give floats [N] or [N, K], NaN for a sample without a target")
        if np.isinf(array).any():
            message = f"y of the {split} split holds an infinity"
            raise DataError(message, where=where, hint="NaN stands for a training sample without a target")
    widths = {array.shape[1] for array in arrays.values()}
    if len(widths) > 1:
        told = ", ".join(f"{split} {array.dtype} {list(array.shape)}" for split, array in given.items())
        raise DataError(
            f"targets differ in width: {told}", where=where, hint="give floats [N, K] with one K everywhere"
        )
    tables = {}
    for split, array in arrays.items():
        values_NK = array.astype(np.float32)
        known_N = np.asarray(~np.isnan(values_NK).any(axis=1))
        values_NK[~known_N] = 0.0
        tables[split] = TargetTable({VALUES: values_NK}, labelled=known_N)
    return tables


def _names_for(width: int, arrays: Mapping[str, NDArray[Any]], *, what: str, where: str) -> tuple[str, ...]:
    """The names that are given, or numbers for names; as many as there is something to name."""
    names = _names_of(arrays, where=where) or tuple(str(number) for number in range(width))
    if len(names) != width:
        raise DataError(f"{len(names)} class names for {what.format(width)}", where=where)
    return names


def _one_width(labels: Sequence[NDArray[Any]], *, where: str) -> int:
    widths = {array.shape[1] for array in labels}
    if len(widths) > 1:
        raise DataError(f"label sets of {' and '.join(map(str, sorted(widths)))} classes", where=where)
    return int(widths.pop())


def _classes(
    arrays: Mapping[str, NDArray[Any]], labels: Mapping[str, NDArray[np.int64]], *, where: str
) -> tuple[str, ...]:
    known = _names_of(arrays, where=where)
    if known:
        return known
    number = max(int(y.max(initial=-1)) for y in labels.values()) + 1
    samples = sum(len(y) for y in labels.values())
    if number > max(_ALWAYS_ALLOWED, _CLASSES_FOR_EACH_SAMPLE * samples):
        raise DataError(
            f"labels reach {number - 1}, and there are {samples} samples",
            where=where,
            hint="give class numbers from 0 without gaps; numbers to be told (regression) are given as floats",
        )
    return tuple(str(label) for label in range(number))


def _names_of(arrays: Mapping[str, NDArray[Any]], *, where: str) -> tuple[str, ...]:
    """The class names that are given; empty where there are none."""
    if "classes" not in arrays:
        return ()
    names = arrays["classes"]
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise DataError(f"classes is {names.dtype} of shape {names.shape}", where=where, hint="give strings [K]")
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist())

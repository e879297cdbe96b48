"""Checkpoints of plain weights as torch writes them, read without torch's unpickler: tensors, and plain values beside them.

What else a checkpoint holds (NumPy's numbers, a script's arguments) stays a record of its name, since no weights come of it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from compressor.data import pickled_arrays
from compressor.errors import ModelError
from compressor.models import torch_archive
from compressor.models.torch_archive import Storage, StoredTensor
from compressor.plain_pickle import DamagedPickleError, Made, Name

_DAMAGE = (DamagedPickleError, zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, NotImplementedError)
_Rows = Callable[[Storage], Tensor]


def read(path: Path) -> object:
    """What a checkpoint holds; tensors in dictionaries, at any depth, are read.

    Raises:
        ModelError: It is damaged, or asks for more than it holds.
    """
    try:
        return _zipped(path) if zipfile.is_zipfile(path) else _legacy(path)
    except _DAMAGE as fault:
        reason = str(fault).strip().split("\n")[0] or type(fault).__name__
        raise ModelError(f"damaged checkpoint: {reason}", where=str(path), hint="copy or save it again") from fault


def _zipped(path: Path) -> object:
    room = _Room(path)
    rows: dict[str, Tensor] = {}
    with torch_archive.opened(path) as archive:
        swapped = archive.is_big_endian

        def row(storage: Storage) -> Tensor:
            if storage.key not in rows or len(rows[storage.key]) < storage.num_bytes:
                with archive.open(storage) as stream:
                    rows[storage.key] = _filled(stream, room.taken(storage.num_bytes))
            return rows[storage.key]

        return _resolved(archive.pickle().value, row, swapped=swapped)


def _legacy(path: Path) -> object:
    """Storages come one behind the other, and the pickle says how long each is."""
    size = path.stat().st_size
    rows: dict[str, Tensor] = {}
    with path.open("rb") as stream:
        value = torch_archive.legacy_pickles(stream, size=size)[-1].value
        stored = torch_archive.storages_in(value)
        for key, num_items in torch_archive.legacy_storages(stream, size=size):
            if key not in stored or stored[key].num_items != num_items or stored[key].num_bytes > size - stream.tell():
                raise DamagedPickleError(f"storage {key} has another size than its tensors say")
            rows[key] = _filled(stream, stored[key].num_bytes)
    missing = [key for key in stored if key not in rows]
    if missing:
        raise DamagedPickleError(f"storage {missing[0]} is not there")
    return _resolved(value, lambda storage: rows[storage.key], swapped=False)


class _Room:
    """How much may still be read: entries of a zip may share their bytes, and so come to more than the file."""

    def __init__(self, path: Path) -> None:
        self._left = path.stat().st_size

    def taken(self, num_bytes: int) -> int:
        self._left -= num_bytes
        if self._left < 0:
            raise DamagedPickleError("its storages are larger than the file")
        return num_bytes


def _filled(stream: IO[bytes], num_bytes: int) -> Tensor:
    row = torch.empty(num_bytes, dtype=torch.uint8)
    view, done = memoryview(row.numpy().data), 0
    while done < num_bytes:
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise DamagedPickleError("a storage is cut short")
        done += count
    return row


def _resolved(value: object, row: _Rows, *, swapped: bool) -> object:
    """A value with the tensors in its dictionaries in place of their records; each dictionary once."""
    done: dict[int, object] = {}

    def of(each: object) -> object:
        if isinstance(each, Mapping):
            if id(each) not in done:
                done[id(each)] = {key: of(item) for key, item in each.items()}
            return done[id(each)]
        stored = torch_archive.tensor_in(each)
        if stored is None:
            return _from_numpy(each)
        return _tensor(stored, row(stored.storage), swapped=swapped)

    return of(value)


def _tensor(stored: StoredTensor, row: Tensor, *, swapped: bool) -> Tensor:
    bytes_ = row[: len(row) // stored.item_bytes * stored.item_bytes]
    if swapped and stored.item_bytes > 1:
        width = stored.item_bytes // (2 if stored.dtype.startswith("complex") else 1)
        bytes_ = torch.from_numpy(bytes_.numpy().view(f"u{width}").byteswap().view(np.uint8))
    return bytes_.view(getattr(torch, stored.dtype)).as_strided(stored.shape, stored.strides, stored.offset)


def _from_numpy(each: object) -> object:
    """The tensor of an accelerator that torch saves as an array; anything else as it is."""
    if isinstance(each, Made) and each.name == "torch._utils._rebuild_device_tensor_from_numpy":
        match each.arguments:
            case (array, Name(text=dtype), *_) if dtype.removeprefix("torch.") in torch_archive.ITEM_BYTES:
                found: Any = pickled_arrays.array_of(array)
                if found is not None:
                    native = torch.from_numpy(found.astype(found.dtype.newbyteorder("=")))
                    return native.to(getattr(torch, dtype.removeprefix("torch.")))
    return each

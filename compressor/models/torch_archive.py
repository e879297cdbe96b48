"""What a file that torch wrote holds, without torch: its pickle read as data, and where the numbers of each tensor lie.

    t.pt (zip)     one pickle, one entry for each storage; TorchScript and torch.export programs have entries of code beside
    t.pt (legacy)  pickles one after the other: magic number, protocol, machine, content, names of storages; then these

Nothing is asked for that the file does not hold: entries are stored as they are (torch compresses no data), a storage is as
large as it says, and a tensor lies within its storage.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from compressor import plain_pickle
from compressor.errors import ModelError
from compressor.plain_pickle import DamagedPickleError, Made, Name, Outside, Read, parts_of

LEGACY_PICKLES = 4
LEGACY_MAGIC = b"l\xfc\x9cF\xf9 j\xa8P\x19"
REPACKED = "it was repacked or damaged: save it again with torch.save"

ITEM_BYTES: Mapping[str, int] = {
    **dict.fromkeys(("bool", "int8", "uint8"), 1),
    **dict.fromkeys(("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"), 1),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("int32", "uint32", "float32"), 4),
    **dict.fromkeys(("int64", "uint64", "float64", "complex64"), 8),
    "complex128": 16,
}
"""The types of numbers that are read."""
_STORAGES: Mapping[str, str] = {
    "Bool": "bool",
    "Char": "int8",
    "Byte": "uint8",
    "Short": "int16",
    "Int": "int32",
    "Long": "int64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Float": "float32",
    "Double": "float64",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    "Untyped": "uint8",
}
_QUANTIZED: Mapping[str, int] = {"QInt8": 1, "QUInt8": 1, "QUInt4x2": 1, "QUInt2x4": 1, "QInt32": 4}
_MOST_AXES = 64
_MOST_ELEMENTS = 1 << 62


@dataclass(frozen=True)
class Storage:
    """A row of numbers in the file.

    Attributes:
        key: Its name there.
        item_bytes: Size of a number.
        num_items: Length of the row.
    """

    key: str
    item_bytes: int
    num_items: int

    @property
    def num_bytes(self) -> int:
        """Its size."""
        return self.item_bytes * self.num_items


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as the file describes it; offset and strides count numbers of its own type."""

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    storage: Storage

    @property
    def item_bytes(self) -> int:
        """Size of a number."""
        return ITEM_BYTES[self.dtype]


def tensor_in(found: object) -> StoredTensor | None:
    """The tensor that a record of a pickle describes; None when it describes none, or one of another kind (sparse, ...).

    Raises:
        DamagedPickleError: It lies outside of its storage.
    """
    if not isinstance(found, Made):
        return None
    name, given = found.name, found.arguments
    match name.removeprefix("torch._utils."), given:
        case (
            ("_rebuild_parameter" | "_rebuild_parameter_with_state" | "_rebuild_device_tensor_from_cpu_tensor"),
            (of, *_),
        ):
            return tensor_in(of)
        case "torch._tensor._rebuild_from_type_v2", (Name(text=function), Name(), tuple(arguments), _):
            return tensor_in(Made(function, arguments))
        case "_rebuild_tensor", (Outside() as place, offset, shape, strides):
            return _stored(place, offset, shape, strides, dtype=None)
        case "_rebuild_tensor_v2", (Outside() as place, offset, shape, strides, _, _, *rest) if not any(rest):
            return _stored(place, offset, shape, strides, dtype=None)
        case "_rebuild_tensor_v3", (Outside() as place, offset, shape, strides, _, _, Name(text=dtype), *rest) if (
            not any(rest)
        ):
            return _stored(place, offset, shape, strides, dtype=dtype.removeprefix("torch."))
    return None


def _stored(
    place: Outside, offset: object, shape: object, strides: object, *, dtype: str | None
) -> StoredTensor | None:
    kind, key, num_items, view = _told_of(place)
    if kind not in _STORAGES or (dtype or _STORAGES[kind]) not in ITEM_BYTES:
        return None
    storage = Storage(key, ITEM_BYTES[_STORAGES[kind]], num_items)
    sizes, steps = _counts(shape), _counts(strides)
    begin = 0
    if view and view[0] is not None:  # of a part of another storage, in files of torch 0.3
        match view[0]:
            case (_, int(begin), int(length)) if begin >= 0 and begin + length <= num_items:
                num_items = begin + length
            case _:
                raise DamagedPickleError("a view that lies outside of its storage")
    found = StoredTensor(dtype or _STORAGES[kind], sizes, steps, begin + _count(offset), storage)
    last = found.offset + sum((size - 1) * step for size, step in zip(sizes, steps, strict=False)) if all(sizes) else -1
    if len(sizes) != len(steps) or math.prod(sizes) > _MOST_ELEMENTS or num_items < 0:
        raise DamagedPickleError("a tensor without a shape")
    if (last + 1) * found.item_bytes > num_items * storage.item_bytes:
        raise DamagedPickleError("a tensor that lies outside of its storage")
    return found


def _told_of(place: Outside) -> tuple[str, str, int, list[object]]:
    """Kind, name and length of a storage, and of which other one it is a part."""
    match place.identity:
        case ("storage", Name(text=kind), str(key), _, int(num_items), *view):
            return kind.rpartition(".")[2].removesuffix("Storage"), key, num_items, view
    raise DamagedPickleError("a tensor without a storage")


def storages_in(value: object) -> dict[str, Storage]:
    """Every storage that a pickle names, by its name.

    Raises:
        DamagedPickleError: One has two sizes, or is of an unknown kind.
    """
    found: dict[str, Storage] = {}
    waiting, seen = [value], {id(value)}
    while waiting:
        each = waiting.pop()
        if isinstance(each, Outside):
            kind, key, num_items, _ = _told_of(each)
            if kind not in _STORAGES and kind not in _QUANTIZED:
                raise DamagedPickleError(f"a storage of an unknown kind, {kind[:40]}")
            item_bytes = _QUANTIZED[kind] if kind in _QUANTIZED else ITEM_BYTES[_STORAGES[kind]]
            storage = Storage(key, item_bytes, num_items)
            if num_items < 0 or found.setdefault(key, storage) != storage:
                raise DamagedPickleError(f"storage {key[:40]} of two sizes")
        fresh = [part for part in parts_of(each) if id(part) not in seen]
        seen |= {id(part) for part in fresh}
        waiting += fresh
    return found


def _counts(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple) or len(values) > _MOST_AXES:
        raise DamagedPickleError("a tensor without a shape")
    return tuple(_count(value) for value in values)


def _count(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < _MOST_ELEMENTS:
        raise DamagedPickleError("a tensor without a shape")
    return value


class Archive:
    """A zip file that torch wrote, open."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive, self._path = archive, path
        self.entries = {entry.filename: entry for entry in archive.infolist()}
        pickled = [name for name in self.entries if name == "data.pkl" or name.endswith("/data.pkl")]
        self.root = pickled[0].removesuffix("data.pkl") if pickled else self._common_root()

    @property
    def has_pickle(self) -> bool:
        """Whether it holds one."""
        return f"{self.root}data.pkl" in self.entries

    @property
    def kind(self) -> str:
        """`torchscript`, `exported` or `weights` (perhaps of more), by the entries it has; empty for another zip file."""
        inside = {name.partition("/")[2] for name in self.entries}
        if "constants.pkl" in inside and any(name.startswith("code/") for name in inside):
            return "torchscript"
        if "archive_format" in inside or "archive_format" in self.entries:
            return "exported"
        return "weights" if self.has_pickle else ""

    @property
    def is_big_endian(self) -> bool:
        """Whether its numbers were written with the highest byte first."""
        return f"{self.root}byteorder" in self.entries and self._read("byteorder") == b"big"

    def pickle(self) -> Read:
        """Its pickle, as data.

        Raises:
            ModelError: Its entry is compressed, or larger than the file.
            DamagedPickleError: It is damaged, or asks for too much.
        """
        entry = self.sized("data.pkl")
        with self._archive.open(entry) as stream:
            return plain_pickle.read(stream, size=entry.file_size)

    def open(self, storage: Storage) -> IO[bytes]:
        """The bytes of a storage.

        Raises:
            ModelError: There is no such entry, or it has another size.
        """
        entry = self.sized(f"data/{storage.key}")
        if entry.file_size < storage.num_bytes:
            raise ModelError(f"storage {storage.key} is cut short", where=str(self._path), hint=REPACKED)
        return self._archive.open(entry)

    def sized(self, name: str) -> zipfile.ZipInfo:
        """An entry that is stored as it is, so that it cannot be larger than the file.

        Raises:
            ModelError: There is none.
        """
        entry = self.entries.get(self.root + name)
        if entry is None:
            raise ModelError(f"holds no '{name}'", where=str(self._path), hint=REPACKED)
        is_stored = entry.compress_type == zipfile.ZIP_STORED and entry.file_size == entry.compress_size
        if not is_stored or entry.file_size > self._path.stat().st_size:
            raise ModelError(f"'{name}' is compressed, as torch never writes it", where=str(self._path), hint=REPACKED)
        return entry

    def _read(self, name: str) -> bytes:
        with self._archive.open(self.sized(name)) as stream:
            return stream.read(1 << 20)

    def small(self, name: str) -> bytes:
        """An entry of up to 64 MiB, by its name without the folder that all lie in.

        Raises:
            ModelError: There is none of that name and size.
        """
        entry = self.sized(name)
        if entry.file_size > 1 << 26:
            raise ModelError(f"'{name}' is too large", where=str(self._path))
        with self._archive.open(entry) as stream:
            return stream.read()

    def _common_root(self) -> str:
        first = next(iter(self.entries), "").partition("/")
        return f"{first[0]}/" if first[1] else ""


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """A zip file that torch wrote.

    Raises:
        zipfile.BadZipFile: It is damaged.
        OSError: It cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        yield Archive(archive, path)


def legacy_pickles(stream: IO[bytes], *, size: int) -> list[Read]:
    """The four pickles at the beginning of a legacy file; the stream stands behind them.

    Raises:
        DamagedPickleError: They are damaged, or ask for too much.
    """
    return [plain_pickle.read(stream, size=size - stream.tell()) for _ in range(LEGACY_PICKLES)]


def legacy_storages(stream: IO[bytes], *, size: int) -> Iterator[tuple[str, int]]:
    """Name and length of each storage of a legacy file, in the order they lie there.

    The stream stands before the numbers of each; who goes on with the next must have taken it behind them.

    Raises:
        DamagedPickleError: The list of their names is damaged.
    """
    keys = plain_pickle.read(stream, size=size - stream.tell()).value
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise DamagedPickleError("no list of storages")
    for key in keys:
        head = stream.read(8)
        if len(head) < 8:
            raise DamagedPickleError("the storages are cut short")
        yield key, struct.unpack("<q", head)[0]

"""What TorchScript files and torch.export programs say of themselves without being loaded: code, and the tensors they hold.

Both are programs, and their loaders run them (`__setstate__`) or unpickle what lies beside. Here their entries are listed,
and the pickle or JSON that names their tensors is read as data.

Not covered: what the code does.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor.errors import ModelError
from compressor.models import torch_archive
from compressor.models.torch_archive import Archive
from compressor.plain_pickle import DamagedPickleError, Made

_WEIGHTS = "_weights_config.json"
_DTYPES = (  # torch.export's own numbers for them
    *("unknown", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"),
    *("complex32", "complex64", "complex128", "bool", "bfloat16"),
)
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    DamagedPickleError,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    RecursionError,
)


@dataclass(frozen=True)
class HeldTensor:
    """A tensor in a program."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """A program that was looked into and not run.

    Attributes:
        code_bytes: Size of its code, in bytes, as text or as a graph.
        code_files: How many files of it there are.
        class_name: The class of its network, where it states one.
        tensors: In the order they lie there.
        unread: Why there are no tensors, where they cannot be told.
    """

    code_bytes: int
    code_files: int
    class_name: str | None
    tensors: tuple[HeldTensor, ...]
    unread: str | None = None


def look_into(path: Path, *, kind: str) -> Program:
    """What can be read of a program without running any of it.

    Args:
        path: The file.
        kind: `torchscript` or `exported`.

    Raises:
        ModelError: The file is damaged.
    """
    try:
        with torch_archive.opened(path) as archive:
            if archive.kind != kind:  # one that is cut may end with a zip file that it held
                raise ValueError(f"the entries of a {kind} file are not there")
            return _torchscript(archive) if kind == "torchscript" else _exported(archive)
    except _DAMAGE as fault:
        raise ModelError(f"damaged or truncated program: {fault}", where=str(path)) from fault


def _torchscript(archive: Archive) -> Program:
    code = [
        entry.file_size for name, entry in archive.entries.items() if "/code/" in f"/{name}" and name.endswith(".py")
    ]
    try:
        network = archive.pickle().value
        tensors = tuple(_attributes(network, "", set()))
    except (DamagedPickleError, ModelError) as fault:
        return Program(sum(code), len(code), None, (), unread=str(fault))
    name = network.name.rpartition(".")[2] if isinstance(network, Made) else None
    return Program(sum(code), len(code), name, tensors)


def _attributes(module: object, path: str, seen: set[int]) -> Iterator[HeldTensor]:
    """The tensors of a pickled module and of those in it, each module once; a pickle is no more than a hundred deep."""
    state = module.state if isinstance(module, Made) else None
    if not isinstance(state, Mapping) or id(module) in seen:
        return
    seen.add(id(module))
    for name, value in state.items():
        place = f"{path}.{name}" if path else str(name)
        stored = torch_archive.tensor_in(value)
        if stored is not None:
            yield HeldTensor(place, stored.dtype, stored.shape)
        elif isinstance(value, Made):
            yield from _attributes(value, place, seen)


def _exported(archive: Archive) -> Program:
    inside = {name.removeprefix(archive.root): entry for name, entry in archive.entries.items()}
    code = [entry.file_size for name, entry in inside.items() if name.startswith("models/") and name.endswith(".json")]
    code = code or [
        entry.file_size for name, entry in inside.items() if name.endswith("serialized_exported_program.json")
    ]
    configs = [name for name in inside if name.startswith("data/weights/") and name.endswith(_WEIGHTS)]
    try:
        found = [held for name in configs for held in _configured(json.loads(archive.small(name).decode("utf-8")))]
    except (LookupError, TypeError, AttributeError, OverflowError, ModelError, ValueError, RecursionError) as fault:
        return Program(sum(code), len(code), None, (), unread=f"the list of its weights cannot be read: {fault}")
    unread = None if configs else "this version of the format does not list its weights"
    return Program(sum(code), len(code), None, tuple(found), unread=unread)


def _configured(raw: Any) -> Iterator[HeldTensor]:
    for name, entry in raw["config"].items():
        meta = entry["tensor_meta"]
        shape = tuple(int(size["as_int"]) for size in meta["sizes"])
        if any(size < 0 for size in shape) or math.prod(shape) > 1 << 62:
            raise ValueError(f"'{str(name)[:80]}' has no shape")
        number = meta["dtype"]
        yield HeldTensor(str(name), _DTYPES[number] if 0 <= number < len(_DTYPES) else "unknown", shape)

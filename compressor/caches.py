"""Folders of what is kept between runs because making it again costs time: a teacher's answers, decoded pictures.

A cache is `<root>/<kind>/<key>/` with `about.json` beside its payload; the key is a hash of everything that the payload
follows from, so a change of anything is another cache. All of it may be deleted at any time.

The root is `$COMPRESS_CACHE`, else `$COMPRESS_HOME/caches`, else `compress` below `$XDG_CACHE_HOME` or `~/.cache`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from compressor import plain_json
from compressor.errors import ArtifactError
from compressor.files import opened_here, replacing

KINDS = ("teacher", "pixels")
_SCHEMA = 1
_ABOUT, _USED, _DELETED = "about.json", "used", ".deleted-"
# All that is ever written into a cache, whole or on the way to its place.
_OURS = re.compile(
    r"about\.json|used|view-\d+\.bin|pixels\.bin|meta\.npz"
    r"|\.(about\.json\.writing|meta\.npz(\.writing)?|pixels\.bin(\.writing)?)-\d+(\.npz)?"
)
_TRIES = 10
_BLOCK = 512  # unit of st_blocks, whatever the file system's own


@dataclass(frozen=True)
class Cache:
    """One cache on disk.

    Attributes:
        path: Its folder.
        kind: One of `KINDS`.
        key: Hash of what it follows from.
        state: `damaged` where its description cannot be read or its deletion was cut short; `foreign` where something else
            may have made it: it has no description at all, holds what we never write, or lies behind a link.
        about: What it follows from, in plain data; empty unless it is whole.
        size_bytes: What it takes on the disk; the holes of sparse files take nothing.
        last_used: When it was opened last.
    """

    path: Path
    kind: str
    key: str
    state: Literal["whole", "damaged", "foreign"]
    about: Mapping[str, Any]
    size_bytes: int
    last_used: datetime


def root() -> Path:
    """Where caches lie."""
    if os.environ.get("COMPRESS_CACHE"):
        return Path(os.environ["COMPRESS_CACHE"]).expanduser().absolute()
    if os.environ.get("COMPRESS_HOME"):
        return Path(os.environ["COMPRESS_HOME"]).expanduser().absolute() / "caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "compress"


def open_cache(kind: str, key: str, about: Mapping[str, Any]) -> Path:
    """The folder of a cache, made if it is not there, and marked as used now. Several processes may open it at once.

    Args:
        kind: One of `KINDS`.
        key: Hash of what it follows from.
        about: What that is, for people.

    Raises:
        ArtifactError: The folder cannot be written.
    """
    assert kind in KINDS, kind
    folder = root() / kind / key
    for tries_left in reversed(range(_TRIES)):
        try:
            _make(folder, about)
        except OSError as fault:
            # another process may have deleted it between two of our steps
            if tries_left and isinstance(fault, FileNotFoundError | FileExistsError):
                continue
            hint = "point COMPRESS_CACHE to a folder that can be written"
            raise ArtifactError(f"cannot write here: {fault.strerror}", where=str(folder), hint=hint) from fault
        break
    return folder


def all_caches() -> list[Cache]:
    """Every cache, the one used last first; what is damaged or foreign is among them, so that it can be deleted."""
    found = [_read(folder) for kind in KINDS for folder in sorted((root() / kind).glob("*"))]
    return sorted((cache for cache in found if cache is not None), key=lambda cache: cache.last_used, reverse=True)


def delete(cache: Cache) -> None:
    """Remove a cache; what uses it right now goes on without it. Of a link only the link goes.

    Raises:
        ArtifactError: It cannot be removed.
    """
    # moved away first: a process that opens it meanwhile finds all of it or nothing
    doomed = cache.path.with_name(
        f"{_DELETED}{cache.key.removeprefix(_DELETED)[:40]}-{os.getpid()}-{time.monotonic_ns()}"
    )
    try:
        if cache.path.is_symlink():
            cache.path.unlink()
            return
        cache.path.rename(doomed)
        shutil.rmtree(doomed)
    except FileNotFoundError:
        return
    except OSError as fault:
        raise ArtifactError(f"cannot be deleted: {fault.strerror}", where=str(cache.path)) from fault


def _make(folder: Path, about: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / _ABOUT
    if _described(file) is None:
        created = datetime.now(UTC).isoformat(timespec="seconds")
        content = {
            "schema": _SCHEMA,
            "kind": folder.parent.name,
            "key": folder.name,
            "created": created,
            "about": dict(about),
        }
        with replacing(file) as written:
            written.write_text(json.dumps(content, indent=2), encoding="utf-8")
    with opened_here(folder / _USED, os.O_WRONLY | os.O_CREAT) as used:
        os.utime(used)


def _described(file: Path) -> dict[str, Any] | None:
    """What a description says that a cache follows from; None where it cannot be read or is that of another folder."""
    try:
        content = plain_json.read(file)
        is_its_own = (content["kind"], content["key"]) == (file.parent.parent.name, file.parent.name)
        return dict(content["about"]) if is_its_own else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(folder: Path) -> Cache | None:
    """The cache in a folder; None where there is no folder, or none that can be entered."""
    state: Literal["whole", "damaged", "foreign"] = "whole"
    try:
        if not folder.is_dir():
            return None
        about = _described(folder / _ABOUT)
        if about is None:
            ours = folder.name.startswith(_DELETED) or (folder / _ABOUT).exists()
            state = "damaged" if ours else "foreign"
        if folder.is_symlink() or folder.parent.is_symlink() or not _holds_ours_alone(folder):
            state = "foreign"
        used = folder / _USED
        last_used = datetime.fromtimestamp((used if used.exists() else folder).stat().st_mtime, UTC)
    except OSError:
        return None
    return Cache(folder, folder.parent.name, folder.name, state, about or {}, sum(_sizes(folder)), last_used)


def _holds_ours_alone(folder: Path) -> bool:
    """Whether all that lies in a folder is what a cache is made of."""
    with os.scandir(folder) as entries:
        return all(entry.is_file(follow_symlinks=False) and _OURS.fullmatch(entry.name) for entry in entries)


def _sizes(folder: Path) -> Iterator[int]:
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                yield (Path(place) / name).lstat().st_blocks * _BLOCK
            except FileNotFoundError:  # a temporary file of a process at work
                continue

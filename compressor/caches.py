"""Folders of what is kept between runs because making it again costs time: a teacher's answers, decoded pictures.

A cache is `<root>/<kind>/<key>/` with `about.json` beside its payload; the key is a hash of everything that the payload
follows from, so a change of anything is another cache. All of it may be deleted at any time.

The root is `$COMPRESS_CACHE`, else `$COMPRESS_HOME/caches`, else `compress` below `$XDG_CACHE_HOME` or `~/.cache`.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compressor.errors import ArtifactError

KINDS = ("teacher", "pixels")
_ABOUT, _USED = "about.json", "used"
_BLOCK = 512  # unit of st_blocks, whatever the file system's own


@dataclass(frozen=True)
class Cache:
    """One cache on disk.

    Attributes:
        path: Its folder.
        kind: One of `KINDS`.
        key: Hash of what it follows from.
        about: What that is, in plain data; empty when its description is damaged.
        size_bytes: What it takes on the disk.
        last_used: When it was opened last.
    """

    path: Path
    kind: str
    key: str
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / _ABOUT).is_file():
            temporary = folder / f".{_ABOUT}-{os.getpid()}"
            created = datetime.now(UTC).isoformat(timespec="seconds")
            temporary.write_text(json.dumps({"kind": kind, "key": key, "created": created, "about": dict(about)}))
            temporary.replace(folder / _ABOUT)
        (folder / _USED).touch()
    except OSError as fault:
        hint = "point COMPRESS_CACHE to a folder that can be written"
        raise ArtifactError(f"cannot write here: {fault.strerror}", where=str(folder), hint=hint) from fault
    return folder


def all_caches() -> list[Cache]:
    """Every cache, the one used last first; a damaged one is among them, so that it can be deleted."""
    found = [_read(folder) for kind in KINDS for folder in sorted((root() / kind).glob("*")) if folder.is_dir()]
    return sorted(found, key=lambda cache: cache.last_used, reverse=True)


def delete(cache: Cache) -> None:
    """Remove a cache; what uses it right now goes on without it.

    Raises:
        ArtifactError: It cannot be removed.
    """
    # moved away first: a process that opens it meanwhile finds all of it or nothing
    doomed = cache.path.with_name(f".{cache.key}-{os.getpid()}-{time.monotonic_ns()}")
    try:
        cache.path.rename(doomed)
        shutil.rmtree(doomed)
    except FileNotFoundError:
        return
    except OSError as fault:
        raise ArtifactError(f"cannot be deleted: {fault.strerror}", where=str(cache.path)) from fault


def _read(folder: Path) -> Cache:
    try:
        raw = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        about = dict(raw["about"])
    except (OSError, ValueError, KeyError, TypeError):
        about = {}
    used = folder / _USED
    last_used = datetime.fromtimestamp((used if used.exists() else folder).stat().st_mtime, UTC)
    size = sum(file.stat().st_blocks * _BLOCK for file in folder.rglob("*") if file.is_file())
    return Cache(folder, folder.parent.name, folder.name, about, size, last_used)

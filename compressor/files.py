"""Files that are there as a whole, or not at all; never elsewhere than where they were named; and read within bounds.

A link in a folder that came from elsewhere may lead anywhere. So nothing here writes through one: what is written is made
anew beside its place and renamed, which replaces a link rather than what it leads to.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A place beside a file to write what takes its place at the end.

    Whoever fails, or is killed, before the end leaves the file as it was; whoever reads meanwhile finds the one before.

    Yields:
        The place, hidden, in the same folder; nothing is there yet.

    Raises:
        OSError: The folder cannot be written.
    """
    temporary = file.with_name(f".{file.name}.writing-{os.getpid()}")
    clear(temporary)  # a link that came with the folder would be written through
    try:
        yield temporary
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def opened_here(file: Path, flags: int) -> Iterator[int]:
    """A file that is opened where it lies: a link in its place is a fault, wherever it leads.

    Yields:
        Its descriptor, closed at the end.

    Raises:
        OSError: It is a link (`ELOOP`), or cannot be opened.
    """
    descriptor = _descriptor(file, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def lock_file(file: Path) -> TextIO:
    """A file to hold a lock on, made if it is not there. What it holds stays.

    Raises:
        OSError: It is a link, or cannot be written.
    """
    return os.fdopen(_descriptor(file, os.O_RDWR | os.O_CREAT), "r+", encoding="utf-8")


def clear(path: Path) -> None:
    """Remove a file, a folder or a link of ours, if there is one; what a link leads to stays.

    Raises:
        OSError: It cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def inside(folder: Path, name: str) -> Path | None:
    """The place in `folder` that a relative name from elsewhere means; None when it leads out, by dots or by a link."""
    given = Path(name)
    if given.is_absolute() or ".." in given.parts:
        return None
    try:
        place = folder / given
        place.exists()  # raises for a name that no file can have
        return place if place.resolve().is_relative_to(folder.resolve()) else None
    except (OSError, ValueError, RuntimeError):  # such a name, or links in a circle
        return None


def read_bytes(file: Path, *, most_bytes: int) -> bytes:
    """The content of a file that is not larger than that; no more is read of one that is, nor of one without an end.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is larger.
    """
    with file.open("rb") as stream:
        content = stream.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"larger than the {most_bytes / 2**20:.3g} MB that are read of such a file")
    return content


def _descriptor(file: Path, flags: int) -> int:
    return os.open(file, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666 if flags & os.O_CREAT else 0)

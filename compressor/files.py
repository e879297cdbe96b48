"""Files that are there as a whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A place beside a file to write what takes its place at the end.

    Whoever fails, or is killed, before the end leaves the file as it was; whoever reads meanwhile finds the one before.

    Yields:
        The place, hidden, in the same folder.

    Raises:
        OSError: The folder cannot be written.
    """
    temporary = file.with_name(f".{file.name}.writing-{os.getpid()}")
    try:
        yield temporary
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


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

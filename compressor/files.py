"""Files that are there as a whole, or not at all; and files that anyone may have written, read within bounds."""

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

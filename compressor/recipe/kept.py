"""The recipe that a run keeps beside its artifacts: `recipe.json`, with the hash of what was written in a file beside it.

The hash is not in the recipe itself, since `compress run runs/x/recipe.json` takes it like any other.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from compressor.errors import InputError
from compressor.files import replacing
from compressor.recipe.reading import read_file

NAME = "recipe.json"
_HASHES = ".recipe.sha256"


def keep(run: Path, text: str) -> None:
    """Write the resolved recipe of a run.

    Args:
        run: The run's folder.
        text: The recipe as JSON.

    Raises:
        OSError: The folder cannot be written.
    """
    file = run / NAME
    before = [_hash(file)] if file.is_file() and is_as_written(run) else []
    with replacing(run / _HASHES) as written:  # both count until the new one is there
        written.write_text("\n".join([_hash_of(text.encode()), *before]) + "\n", encoding="ascii")
    with replacing(file) as written:
        written.write_text(text, encoding="utf-8")


def kept_in(run: Path) -> dict[str, Any] | None:
    """The recipe that a run keeps, as plain data; None where it keeps none.

    Raises:
        InputError: It cannot be read, or was changed since.
    """
    file = run / NAME
    if not file.is_file():
        return None
    if not is_as_written(run):
        message = "is not what the run has written, so what it states cannot be taken over"
        hint = f"run it as it is now: compress run {file}; or delete it"
        raise InputError(message, where=str(file), hint=hint)
    return read_file(file)


def is_as_written(run: Path) -> bool:
    """Whether the recipe that a run keeps is the one that it has written; true of earlier versions, which kept no hash."""
    try:
        known = (run / _HASHES).read_text(encoding="ascii").split()
    except FileNotFoundError:
        return True
    except (OSError, UnicodeDecodeError):
        return False
    return _hash(run / NAME) in known


def _hash(file: Path) -> str:
    return _hash_of(file.read_bytes())


def _hash_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

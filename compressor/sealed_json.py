"""JSON tables that carry a checksum of their content: a changed letter is noticed when they are read again.

It guards against damage and against edits by hand, not against whoever means to deceive: that is what trust is for.
What is only laid out otherwise (blanks, the order of keys) has the same checksum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressor import files, plain_json

CHECKSUM = "checksum"


def text(content: Mapping[str, Any], **options: Any) -> str:
    """JSON text of a table, its checksum included; `options` are those of `json.dumps`."""
    plain = json.loads(json.dumps(content))  # as it will be read: tuples are lists then, and keys are text
    return json.dumps({**plain, CHECKSUM: _digest(plain)}, **options)


def read(content: bytes | str, *, required: bool = True, finite: bool = False) -> dict[str, Any]:
    """The table in a text, without its checksum, within the bounds of `plain_json`.

    Args:
        content: JSON text.
        required: Whether a table must have a checksum; what earlier versions wrote has none.
        finite: Whether numbers must be finite.

    Raises:
        ValueError: It is no JSON table, lacks its checksum, or does not fit it.
    """
    return opened(plain_json.parse(content, finite=finite), required=required)


def read_file(
    file: Path, *, required: bool = True, finite: bool = False, most_bytes: int = plain_json.MOST_BYTES
) -> dict[str, Any]:
    """The table in a file; see `read`.

    Raises:
        OSError: It cannot be opened.
        ValueError: As `read`, or it is larger than `most_bytes`.
    """
    return read(files.read_bytes(file, most_bytes=most_bytes), required=required, finite=finite)


def opened(raw: object, *, required: bool = True) -> dict[str, Any]:
    """A parsed table without its checksum; see `read`.

    Raises:
        ValueError: It is no table, lacks its checksum, or does not fit it.
    """
    if not isinstance(raw, dict):
        raise ValueError("it is no table")
    table = {name: value for name, value in raw.items() if name != CHECKSUM}
    if CHECKSUM not in raw:
        if required:
            raise ValueError("it has no checksum")
        return table
    if raw[CHECKSUM] != _digest(table):
        raise ValueError("its content does not fit its checksum: it was changed after it was written")
    return table


def _digest(plain: Mapping[str, Any]) -> str:
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()

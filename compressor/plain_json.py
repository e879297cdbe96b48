"""JSON that any reader takes, and JSON that anyone may have written.

Written, it has no word for NaN and the infinities, so they become null. Read, it is bounded in size and depth and in the
length of its numbers, and whatever is wrong with it is one sentence, as a `ValueError`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressor import files

MOST_BYTES = 256 * 2**20
DEEPEST = 64
"""Tables and lists within one another; what compress writes has a dozen."""
_FEWEST, _MOST = -(2**63), 2**64 - 1


def plain(value: Any) -> Any:
    """A value of mappings, lists, tuples and leaves with null for what is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def text(value: Any, **options: Any) -> str:
    """JSON text of a value; `options` are those of `json.dumps`."""
    return json.dumps(plain(value), allow_nan=False, **options)


def read(file: Path, *, finite: bool = False, most_bytes: int = MOST_BYTES) -> Any:
    """The value in a file of JSON.

    Args:
        file: Where it lies.
        finite: Whether numbers must be finite, as in everything that `text` writes.
        most_bytes: A larger file is refused before it is read.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is no JSON, or more than any that compress writes; in one sentence.
    """
    return parse(files.read_bytes(file, most_bytes=most_bytes), finite=finite)


def parse(content: bytes | str, *, finite: bool = False) -> Any:
    """The value that JSON stands for; `finite` as for `read`.

    Raises:
        ValueError: As `read`.
    """
    try:
        value = json.loads(content if isinstance(content, str) else content.decode("utf-8"))
    except UnicodeDecodeError as fault:
        raise ValueError(f"no UTF-8 text (byte {fault.start})") from fault
    except RecursionError as fault:
        raise ValueError(f"nested deeper than {DEEPEST} levels") from fault
    except json.JSONDecodeError:
        raise
    except ValueError as fault:  # Python's own bound, far above ours
        raise ValueError("a whole number of thousands of digits") from fault
    require_bounds(value, finite=finite)
    return value


def require_bounds(value: Any, *, finite: bool = False, deepest: int = DEEPEST) -> None:
    """Refuse what readers of plain data cannot handle: depth, numbers beyond 64 bits.

    Raises:
        ValueError: In one sentence.
    """
    waiting = [value]
    for _ in range(deepest + 1):
        below: list[Any] = []
        for each in waiting:
            if isinstance(each, dict):
                below += each.keys()
                below += each.values()
            elif isinstance(each, list):
                below += each
            else:
                _require_leaf(each, finite=finite)
        if not below:
            return
        waiting = below
    raise ValueError(f"nested deeper than {deepest} levels")


def _require_leaf(leaf: Any, *, finite: bool) -> None:
    if isinstance(leaf, float):
        if finite and not math.isfinite(leaf):
            raise ValueError(f"a number that is not finite ({leaf})")
    elif isinstance(leaf, int) and not _FEWEST <= leaf <= _MOST:
        raise ValueError("a whole number of more than 64 bits")

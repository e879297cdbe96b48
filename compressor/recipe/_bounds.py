"""TOML that anyone may have written, parsed within bounds.

Python's own parser takes time that grows with the square of a dotted key's parts, and as many frames as brackets stand
within one another, so both are counted before it begins. Recipes are written by hand: what goes beyond is no recipe.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from compressor import plain_json

MOST_BYTES = 2**20
DEEPEST = 32
"""Tables and lists within one another, and parts of a dotted key; a recipe's own tables have six."""
LONGEST_NAME = 255
"""Bytes of a name that file systems take."""
_PLACES = frozenset({"model", "arch", "source", "unlabelled", "runs", "name"})

_QUOTE_OR_COMMENT = re.compile("""["'#]""")
_BRACKET_OR_KEY = re.compile(r"[\[\]{}]|[^\[\]{},=\n]+")


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of TOML.

    Raises:
        ValueError: It is none, or holds more than a recipe can; in one sentence.
    """
    if len(text) > MOST_BYTES:
        raise ValueError(f"larger than the {MOST_BYTES / 2**20:g} MB of a recipe")
    depth = 0
    for part in _BRACKET_OR_KEY.findall(_outside_of_strings(text)):
        depth = max(0, depth + {"[": 1, "{": 1, "]": -1, "}": -1}.get(part, 0))
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST} levels")
        if part.count(".") >= DEEPEST:
            raise ValueError(f"a dotted key has more than {DEEPEST} parts")
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as fault:  # Python's own bound on digits, far above ours
        raise ValueError(f"a value that cannot be: {str(fault).partition(':')[0].partition(';')[0]}") from fault
    require_bounds(tables)
    return tables


def require_bounds(raw: Any) -> None:
    """Refuse in plain data of a recipe what nothing could do with: depth, size of numbers, names that no file can have.

    Raises:
        ValueError: In one sentence.
    """
    plain_json.require_bounds(raw, deepest=DEEPEST)
    for key, value in _entries(raw):
        for text in (key, value):
            if isinstance(text, str):
                _require_text(text, key)
        if key in _PLACES and isinstance(value, str):
            longest = max(len(part.encode()) for part in re.split("[/:]", value))
            if longest > LONGEST_NAME:
                raise ValueError(f"'{key}' has a name of {longest} bytes, and a file can have {LONGEST_NAME}")


def _require_text(text: str, key: str) -> None:
    if "\0" in text:
        raise ValueError(f"{key[:40]!a} holds a null character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as fault:
        raise ValueError(f"{key[:40]!a} is no UTF-8 text") from fault


def _entries(raw: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value; texts of lists under the key of the list."""
    waiting: list[tuple[str, Any]] = [("", raw)]
    while waiting:
        key, value = waiting.pop()
        yield key, value
        if isinstance(value, dict):
            waiting += ((str(each), below) for each, below in value.items())
        elif isinstance(value, list):
            waiting += ((key, below) for below in value)


def _outside_of_strings(text: str) -> str:
    """The text without comments, an `s` in place of each string; up to the first string that does not end."""
    parts, position = [], 0
    while position >= 0 and (found := _QUOTE_OR_COMMENT.search(text, position)) is not None:
        parts += [text[position : found.start()], "" if found[0] == "#" else "s"]
        position = _end(text, found.start())
    return "".join([*parts, text[position:] if position >= 0 else ""])


def _end(text: str, start: int) -> int:
    """Where the string or comment that begins at `start` ends; −1 for one that does not."""
    quote = text[start]
    if quote == "#":
        end = text.find("\n", start)
        return len(text) if end < 0 else end
    marks = quote * 3 if text.startswith(quote * 3, start) else quote
    position = start + len(marks)
    while (end := text.find(marks, position)) >= 0:
        if quote == "'" or not _is_escaped(text, end, start + len(marks)):
            return end + len(marks)
        position = end + 1
    return -1


def _is_escaped(text: str, position: int, start: int) -> bool:
    """Whether an odd number of backslashes stands before a position of a string that starts at `start`."""
    first = position
    while first > start and text[first - 1] == "\\":
        first -= 1
    return (position - first) % 2 == 1

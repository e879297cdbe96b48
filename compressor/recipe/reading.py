"""A recipe from a file, and `--set a.b=value` over it: plain data in, plain data out.

Nothing is judged here beyond the syntax; whether the keys and values make a recipe is found by `checking`.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compressor import plain_json
from compressor.errors import InputError
from compressor.files import read_bytes
from compressor.recipe import _bounds


def read_file(file: Path) -> dict[str, Any]:
    """Parse a recipe into plain data: TOML, or the resolved JSON that a run keeps (`runs/x/recipe.json`).

    Raises:
        InputError: No such file, not text, not valid TOML or JSON (with line and column), or more than a recipe can be.
    """
    is_json = file.suffix == ".json"
    try:
        content = read_bytes(file, most_bytes=_bounds.MOST_BYTES)
        raw: Any = plain_json.parse(content) if is_json else _bounds.parse_toml(content.decode("utf-8"))
        _bounds.require_bounds(raw)
    except FileNotFoundError as fault:
        raise InputError("no such recipe", where=str(file), hint="compress init DIR writes one") from fault
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(f"cannot be read: {fault}", where=str(file)) from fault
    except ValueError as fault:
        raise InputError(f"not valid {'JSON' if is_json else 'TOML'}: {fault}", where=str(file)) from fault
    if not isinstance(raw, dict):
        raise InputError(f"holds a {type(raw).__name__}, not the tables of a recipe", where=str(file))
    raw.setdefault("name", safe_name(file.resolve().parent.name if file.stem == "recipe" else file.stem))
    return raw


def safe_name(text: str) -> str:
    """A name for a run, made from that of a file, a folder or a model."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-") or "run"


def override(raw: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply `--set a.b=value` assignments to plain recipe data; the input is left as it was.

    A value is read as TOML (`0.4`, `true`, `[1, 2]`, `"text"`), and as text when it is not TOML. A whole number in a
    path is a position in a list (`distill.losses.0.temperature=2`).

    Raises:
        InputError: An assignment has no `=`, its path goes through something that is not a table, or what comes of them
            all is more than a recipe can be.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(raw))
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator or not path:
            raise InputError(f"'{assignment}' is not an assignment", where="--set", hint="write --set a.b=value")
        parts = [part.strip() for part in path.split(".")]
        if len(parts) > _bounds.DEEPEST:
            message = f"a path of {len(parts)} parts, and a recipe has {_bounds.DEEPEST} levels at most"
            raise InputError(message, where=f"--set {assignment[:40]}...")
        _assign(changed, parts, _value(text.strip()), assignment)
    try:
        _bounds.require_bounds(changed)
    except ValueError as fault:
        raise InputError(f"not valid: {fault}", where="--set" if assignments else "the recipe") from fault
    return changed


def _assign(table: Any, path: list[str], value: Any, assignment: str) -> None:
    *parents, last = path
    walked: list[str] = []
    for part in parents:
        walked.append(part)
        table = _step(table, part, assignment, walked)
    if isinstance(table, list):
        index = _index(table, last, assignment)
        table[index : index + 1] = [value]
    elif isinstance(table, dict):
        table[last] = value
    else:
        raise InputError(f"'{'.'.join(walked)}' is not a table", where=f"--set {assignment}")


def _step(table: Any, part: str, assignment: str, walked: list[str]) -> Any:
    if isinstance(table, list):
        index = _index(table, part, assignment)
        if index == len(table):
            table.append({})
        return table[index]
    if not isinstance(table, dict):
        raise InputError(f"'{'.'.join(walked[:-1])}' is not a table", where=f"--set {assignment}")
    if table.get(part) is None:  # absent, or null in a recipe that a run has resolved
        table[part] = [] if part == "losses" else {}
    return table[part]


def _index(items: list[Any], part: str, assignment: str) -> int:
    if not part.isdecimal() or len(part) > 9 or int(part) > len(items):
        raise InputError(
            f"'{part}' is no position in this list", where=f"--set {assignment}", hint="write a number, from 0"
        )
    return int(part)


def _value(text: str) -> Any:
    try:
        return _bounds.parse_toml(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    except ValueError as fault:
        raise InputError(f"not valid TOML: {fault}", where=f"--set ...={text[:40]}...") from fault

"""Frozen dataclasses as plain JSON, and back: their annotations say what is written and what is checked.

What is read may have been written by anyone (`plain_json` bounds it first). A value of another type, one that is not
finite, one out of its field's bounds or one that is not there at all is a `ValueError`: one sentence that names the place,
`timings[0].p50_ms is 'fast', not a number`. Keys that a record does not have are left aside: later versions may write more.

Writing runs on Python 3.9, since packs carry it; reading needs 3.10, where `X | None` can be evaluated.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_T = TypeVar("_T")
_NOTHING = object()
_SHOWN = 40  # characters of a value in a sentence


def described(
    *,
    older: Callable[[], Any] | None = None,
    absent: Callable[[Any], bool] | None = None,
    positive: bool = False,
    kept_apart: bool = False,
) -> Mapping[str, Any]:
    """What an annotation does not say of a field: its `metadata`.

    Args:
        older: Gives the value where a file has none, for a field that whoever makes the record must state.
        absent: Of a record: whether the field is left out where it is written.
        positive: Whether a number must be above 0.
        kept_apart: It is no part of the JSON.
    """
    return {"older": older, "absent": absent, "positive": positive, "kept_apart": kept_apart}


def is_kept_apart(field: dataclasses.Field[Any]) -> bool:
    """Whether a field is no part of the JSON."""
    return bool(field.metadata.get("kept_apart"))


def as_json(record: Any, *, whole: bool = False) -> Any:
    """A record as tables, lists and leaves, its fields in their order; NaN and infinities stay, for `plain_json` to replace.

    Args:
        record: A dataclass, or what may stand in one.
        whole: Whether fields are written that are left out otherwise, as empty as they are.
    """
    if dataclasses.is_dataclass(record):
        return {
            field.name: as_json(getattr(record, field.name), whole=whole)
            for field in dataclasses.fields(record)
            if not is_kept_apart(field) and (whole or not _is_absent(field, record))
        }
    if isinstance(record, Mapping):
        return {name: as_json(value, whole=whole) for name, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [as_json(value, whole=whole) for value in record]
    return record


def _is_absent(field: dataclasses.Field[Any], record: Any) -> bool:
    absent = field.metadata.get("absent")
    return absent is not None and bool(absent(record))


def read(kind: type[_T], raw: object, *, at: str = "") -> _T:
    """The record that plain JSON stands for.

    A record's class may have two methods of its own: `renewed`, a static one that brings a table of an earlier version to
    this one's form, and `check`, which looks at what several fields say together and raises `ValueError`.

    Args:
        kind: A frozen dataclass.
        raw: What `plain_json` has read.
        at: Where it stands within the whole, for the sentence.

    Raises:
        ValueError: It is not such a record; in one sentence that names the place.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"{at or 'it'} is {_shown(raw)}, not a table")
    renewed = getattr(kind, "renewed", None)
    told = raw if renewed is None else renewed(raw)
    hints = _hints(kind)  # type: ignore[arg-type]  # every class can be hashed
    found = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # a dataclass, which `type` cannot say
        if is_kept_apart(field):
            continue
        place = f"{at}.{field.name}" if at else field.name
        value = told.get(field.name, _NOTHING)
        if value is not _NOTHING:
            found[field.name] = _value(hints[field.name], value, place)
            if field.metadata.get("positive") and not found[field.name] > 0:
                raise ValueError(f"{place} is {_shown(value)}, not above 0")
        elif field.metadata.get("older") is not None:
            found[field.name] = field.metadata["older"]()
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{at or 'it'} lacks '{field.name}'")
    made = kind(**found)
    check = getattr(made, "check", None)
    if check is not None:
        check()
    return made


@functools.cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _value(hint: Any, value: object, place: str) -> Any:
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return read(hint, value, at=place)  # type: ignore[arg-type]  # a class: no annotation is a record itself
    if hint in _LEAVES:
        return _leaf(hint, value, place)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if type(None) in parts:
        (other,) = (part for part in parts if part is not type(None))
        return None if value is None else _value(other, value, place)
    if origin is tuple:
        return _row(parts, value, place)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _table(parts[1], value, place)
    raise TypeError(f"{hint} cannot be read yet")


def _leaf(hint: Any, value: object, place: str) -> Any:
    name, fits = _LEAVES[hint]
    if not fits(value):
        raise ValueError(f"{place} is {_shown(value)}, not {name}")
    return hint(value)


def _row(parts: tuple[Any, ...], value: object, place: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{place} is {_shown(value)}, not a list")
    if parts[-1] is Ellipsis:
        return tuple(_value(parts[0], each, f"{place}[{number}]") for number, each in enumerate(value))
    if len(value) != len(parts):
        raise ValueError(f"{place} has {len(value)} entries, not {len(parts)}")
    return tuple(_value(part, value[number], f"{place}[{number}]") for number, part in enumerate(parts))


def _table(part: Any, value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{place} is {_shown(value)}, not a table")
    # null stands for a number that could not be computed: nothing is known under its name then
    told = {name: each for name, each in value.items() if each is not None or part not in (int, float)}
    return {name: _value(part, each, f"{place}.{name}") for name, each in told.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


_LEAVES: Mapping[Any, tuple[str, Callable[[Any], bool]]] = {
    str: ("text", lambda value: isinstance(value, str)),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    float: ("a number", _is_number),
    int: ("a whole number", lambda value: _is_number(value) and value == int(value)),
}


def _shown(value: object) -> str:
    return repr(value)[:_SHOWN]

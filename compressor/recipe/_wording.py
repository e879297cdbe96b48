"""What pydantic finds wrong, told in our words: the key as the user wrote it, the value, and what it should be.

Pydantic reports each alternative of a union by itself and names places that no user writes; here they become one fault
for one key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from compressor import registry
from compressor.errors import Fault
from compressor.recipe.settings import Recipe


def by_place(error: ValidationError) -> dict[tuple[str, ...], list[Mapping[str, Any]]]:
    """The details of a pydantic error by the key the user wrote, which a union gives for each alternative it tried.

    What is wrong inside a value says more than that the whole value does not fit, so only the inner ones are kept.
    """
    places: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for detail in error.errors():
        place = tuple(str(part) for part in detail["loc"] if not _is_union_branch(part))
        places.setdefault(place, []).append(detail)
    outer = {place[:length] for place in places for length in range(len(place))}
    return {place: details for place, details in places.items() if place not in outer}


def fault_of(details: Sequence[Mapping[str, Any]]) -> Fault:
    """The pydantic errors of one key as one of ours: the dotted key, the value, what it should be or the nearest key."""
    detail = details[0]
    path = [str(part) for part in detail["loc"] if not _is_union_branch(part)]
    where = ".".join(path)
    if detail["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        return Fault(where, f"no setting is called '{path[-1]}'", registry.nearest(path[-1], known, "known here:"))
    if detail["type"] == "missing":
        return Fault(where, "must be given", f'write {path[-1]} = "..." in [{".".join(path[:-1])}]')
    wanted = " or ".join(dict.fromkeys(_wanted(detail) for detail in details)).replace(" or be ", " or ")
    return Fault(where, f"{detail['input']!r} is not allowed: should {wanted}", None)


def _wanted(detail: Mapping[str, Any]) -> str:
    """What pydantic would have taken, to stand after "should"."""
    named = {
        "string_pattern_mismatch": "begin with a letter or digit, then letters, digits, '.', '_' or '-'",
        "string_type": "be text",
        "model_type": "be a table",
        "dict_type": "be a table",
        "tuple_type": "be a list",
        "bool_type": "be true or false",
        "bool_parsing": "be true or false",
    }
    message = re.sub(r"^(Value error, |Input should |\w+ should )", "", str(detail["msg"]))
    message = re.sub(
        r", unable to parse .*$|, got a number with a fractional part$| after validation, not 0$", "", message
    )
    return named.get(detail["type"], message).replace("be a valid ", "be a ").replace("be a integer", "be an integer")


def _is_union_branch(part: object) -> bool:
    """Pydantic adds the name of the tried alternative to the location of a union; users do not write those."""
    text = str(part)
    return text in {"int", "float", "str", "bool"} or text.startswith(
        ("literal[", "tuple[", "constrained-", "function-")
    )


def _keys_at(path: Sequence[str]) -> list[str]:
    model: type[BaseModel] = Recipe
    for part in path:
        field = model.model_fields.get(part)
        if field is None:
            continue
        inner = [a for a in (field.annotation, *get_args(field.annotation)) if isinstance(a, type)]
        inner += [b for a in get_args(field.annotation) for b in get_args(a) if isinstance(b, type)]
        tables = [a for a in inner if issubclass(a, BaseModel)]
        if not tables:
            return []
        model = tables[0]
    return list(model.model_fields)

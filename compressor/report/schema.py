"""The JSON Schema of `report.json` (draft 2020-12), derived from the facts themselves: `python -m compressor.report.schema`.

What is published lies in `schema/report-N.json`, N being `data.SCHEMA`. A test holds it against what this module derives.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union

from compressor.plain_records import is_kept_apart
from compressor.report import data as json_format
from compressor.report.facts import ReportData

FOLDER = Path(__file__).parent / "schema"
_PLAIN: Mapping[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": ["number", "null"]},  # NaN and infinities are null
    type(None): {"type": "null"},
    Any: {},
    object: {},
}


def schema() -> dict[str, Any]:
    """The schema of what `data.as_json` gives."""
    definitions: dict[str, Any] = {}
    root = _of_dataclass(ReportData, definitions)
    root["properties"] = {"schema": {"const": json_format.SCHEMA}, **root["properties"]}
    root["required"] = ["schema", *root["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"compress report, version {json_format.SCHEMA}",
        "description": "Shares are in 0-1, times in milliseconds, sizes in bytes, memory in 10^6 bytes.",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def published() -> Path:
    """The file that holds this version's schema."""
    return FOLDER / f"report-{json_format.SCHEMA}.json"


def as_text() -> str:
    """The schema as it is published, ending in a newline."""
    return json.dumps(schema(), indent=2) + "\n"


def _of_dataclass(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind) if not is_kept_apart(field)]
    return {
        "type": "object",
        "properties": {name: _of(hints[name], definitions) for name in names},
        "required": names,
        "additionalProperties": False,
    }


def _of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # a place first, should it hold itself
            definitions[hint.__name__] = _of_dataclass(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return {"enum": list(parts)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(part, definitions) for part in parts]}
    if origin is tuple:
        if parts[-1] is Ellipsis:
            return {"type": "array", "items": _of(parts[0], definitions)}
        each = [_of(part, definitions) for part in parts]
        return {"type": "array", "prefixItems": each, "minItems": len(parts), "maxItems": len(parts)}
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of(parts[1], definitions)}
    raise TypeError(f"{hint} has no place in the schema yet")


if __name__ == "__main__":
    sys.stdout.write(as_text())

"""JSON that any reader takes: it has no word for NaN and the infinities, so they become null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


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

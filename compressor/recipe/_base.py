"""What the other rooms stand on: the base class of all settings, and a table out of plain data.

A recipe that is still plain data may hold anything anywhere; who looks into it before it is checked asks for a table
here and gets an empty one where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of all settings: frozen, and no key that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


def table_of(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The table of that name, empty where there is none or something else."""
    table = raw.get(key)
    return table if isinstance(table, Mapping) else {}

"""From a data source as it is named (`images:flowers`) to what its format reads there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from compressor import registry
from compressor.data.samples import Splits
from compressor.errors import DataError, RecipeError
from compressor.recipe import split_source


def read(source: str, options: Mapping[str, Any], *, where: str = "data.options") -> Splits:
    """Read a source.

    Args:
        source: As named.
        options: Of its format.
        where: The setting that the options are from.

    Raises:
        UnknownNameError: No such format.
        RecipeError: Options the format does not take.
        DataError: The place does not exist, or its content does not fit together.
    """
    name, target = split_source(source)
    member = registry.find("formats", name)
    faults = registry.option_faults(member, options, where=where)
    if faults:
        raise RecipeError(faults, source=source)
    format_of = member.load()
    if not member.positional:
        if target is not None:
            raise DataError(f"'{name}' takes no place", where=source, hint=f"write {name}")
        return cast("Splits", format_of(**options))
    if not target:
        raise DataError(f"'{name}' needs a place", where=source, hint=f"write {name}:PATH")
    if member.positional[0].annotation != "Path":
        return cast("Splits", format_of(target, **options))
    path = Path(target).expanduser()
    if not path.exists():
        raise DataError(
            "no such file or folder", where=str(path), hint=f"write {name}:PATH; relative paths start at {Path.cwd()}"
        )
    return cast("Splits", format_of(path, **options))

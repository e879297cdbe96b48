"""Plain data to a frozen recipe, with every fault at once.

Keys, types and ranges are checked by the settings themselves and told by `_wording`; names and their options by `names`;
the order of the stages by `orders`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from compressor.errors import Fault, RecipeError
from compressor.recipe._wording import by_place, fault_of
from compressor.recipe.names import name_faults
from compressor.recipe.orders import order_faults
from compressor.recipe.settings import Recipe


def parse(raw: Mapping[str, Any], *, source: str) -> Recipe:
    """Check plain recipe data and freeze it.

    Args:
        raw: The recipe as plain data.
        source: Where it came from, for the error text (a path, or "command line").

    Raises:
        RecipeError: With every fault found.
    """
    found = faults(raw)
    if found:
        raise RecipeError(found, source=source)
    return Recipe.model_validate(raw)


def faults(raw: Mapping[str, Any]) -> list[Fault]:
    """Every fault of plain recipe data that can be seen without opening a model or a data set."""
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        found = [fault_of(details) for details in by_place(error).values()]
        return found + name_faults(raw)
    return name_faults(raw) + order_faults(recipe)

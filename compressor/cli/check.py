"""`compress check`: every fault of a recipe, before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressor.cli import _options as options


def check(
    recipe: Annotated[Path, typer.Argument(help="A recipe in TOML.")] = Path("recipe.toml"),
    assignments: options.Assignments = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave the samples unread, and build no network.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Find every fault of a recipe at once, before anything runs: names, options, ranges, order, files, samples.

    Example: compress check recipe.toml
    """
    from compressor import console, preflight
    from compressor import recipe as recipes
    from compressor.data import guess
    from compressor.errors import RecipeError

    raw = guess.in_recipe(recipes.override(recipes.read_file(recipe), assignments or ()))
    faults = preflight.check(raw, file=recipe) or ([] if quick else preflight.content_faults(raw))
    if as_json:
        console.as_json(
            {
                "recipe": str(recipe),
                "faults": [{"where": f.where, "message": f.message, "hint": f.hint} for f in faults],
            }
        )
        raise typer.Exit(2 if faults else 0)
    if faults:
        raise RecipeError(faults, source=str(recipe))
    order = " → ".join(recipes.parse(raw, source=str(recipe)).stage_order())
    console.show(f"{recipe}: no fault; stages: {order}")

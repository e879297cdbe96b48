"""What `--loss` and the options beside it say, as a recipe says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compressor import console, registry
from compressor import recipe as recipes
from compressor.errors import InputError


def stated(
    names: Sequence[str],
    assignments: Sequence[str],
    *,
    task: Mapping[str, Any] | None = None,
    **typed: str | None,
) -> list[dict[str, object]] | None:
    """The losses with the typed options that they have; None where nothing was typed.

    One on features alone gets the usual one on answers beside it.

    Args:
        names: Of `--loss`.
        assignments: Of `--set`, which may tell another task.
        task: `[task]` of the artifact that is changed, where there is one.
        typed: Options of losses that have words of their own on the command line.

    Raises:
        InputError: An option was typed that none of them has, or is no number.
    """
    values = {option: value for option, value in _numbers(**typed).items() if value is not None}
    if not names and not values:
        return None
    usual = _usual(task or {}, assignments)
    names = names or [usual]
    members = {name: registry.find("losses", name) for name in names}
    takes = {name: {option.name for option in member.options} for name, member in members.items()}
    asking = [recipes.Asking.reading(member, {}, where="") for member in members.values()]
    if all(each.on_features_alone for each in asking):
        console.note(f"{', '.join(names)}: on features alone, so {usual} is added for the answers")
        takes = {usual: {option.name for option in registry.find("losses", usual).options}, **takes}
    for option in values:
        if not any(option in options_of for options_of in takes.values()):
            hint = "compress list losses shows what each takes"
            raise InputError(f"{', '.join(takes)} has no {option}", where=f"--{option}", hint=hint)
    return [
        {"name": name, **{option: value for option, value in values.items() if option in options_of}}
        for name, options_of in takes.items()
    ]


def _numbers(**stated: str | None) -> dict[str, float | str | None]:
    """What was typed as numbers; `auto` stays a word.

    Raises:
        InputError: One of them is neither.
    """
    found: dict[str, float | str | None] = {}
    for name, text in stated.items():
        try:
            found[name] = text if text in (None, "auto") else float(text or "")
        except ValueError as fault:
            raise InputError(f"'{text}' is no number", where=f"--{name}", hint="write a number, or auto") from fault
    return found


def _usual(task: Mapping[str, Any], assignments: Sequence[str]) -> str:
    """The loss on answers where none is stated."""
    of_task = [each for each in assignments if each.startswith("task.")]
    stated = recipes.table_of(recipes.override({"task": task}, of_task), "task")
    return recipes.usual_loss(recipes.task_gives(str(stated.get("name", recipes.TaskSettings().name)))).name

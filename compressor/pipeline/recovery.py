"""How a network that was cut is trained back: as it was trained, where nothing else is stated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from compressor import recipe as recipes
from compressor.artifact import Artifact, Decision
from compressor.errors import ArtifactError

_OF_THE_OPTIMIZER = ("lr", "momentum", "weight_decay")
_TAKEN_OVER = ("batch_size", "optimizer", *_OF_THE_OPTIMIZER)


def as_it_was_trained(
    pruning: recipes.PruneSettings, source: Artifact
) -> tuple[recipes.PruneSettings, tuple[Decision, ...]]:
    """The settings of recovery, with batch, optimizer and rate of the training that `source` came from.

    What is stated stays. A stated optimizer that is another leaves rate, momentum and decay to its own defaults, and a rate
    that was left to `auto` there is left to it here: it is lower on weights that are trained already.

    Raises:
        ArtifactError: What the artifact says of its training are no settings.
    """
    made = recipes.table_of(source.manifest.settings, "training")
    if not made or not pruning.epochs:
        return pruning, ()
    stated = {name for name in pruning.model_fields_set if getattr(pruning, name) != "auto"}
    taken = {name: made[name] for name in _TAKEN_OVER if name in made and name not in stated}
    if "optimizer" in stated and pruning.optimizer != made.get("optimizer"):
        taken = {name: value for name, value in taken.items() if name not in _OF_THE_OPTIMIZER}
    if isinstance(pruning.batch_size, int) and "batch_size" in stated and taken.get("lr", "auto") != "auto":
        taken["lr"] = _for_the_batch(made, batch_size=pruning.batch_size)
    try:
        settled = recipes.PruneSettings.model_validate({**pruning.model_dump(exclude_unset=True), **taken})
    except (ValidationError, TypeError) as fault:
        message = "its manifest does not say how it was trained in settings that can be read"
        raise ArtifactError(message, where=str(source.path), hint="state lr, batch_size and optimizer") from fault
    if all(getattr(settled, name) == getattr(pruning, name) for name in taken):
        return pruning, ()
    told = ", ".join(f"{name} = {getattr(settled, name)}" for name in ("optimizer", "lr", "batch_size"))
    why = f"what is not stated in [prune] is as {source.path.name} was trained, where it reached what it is cut from"
    return settled, (Decision("recovery", told, why),)


def unstated(recipe: recipes.Recipe) -> dict[str, set[str]]:
    """What a recipe leaves to the training before, by section: written down as a default it would be stated from then on."""
    return {} if recipe.prune is None else {"prune": set(_TAKEN_OVER) - recipe.prune.model_fields_set}


def _for_the_batch(made: Mapping[str, Any], *, batch_size: int) -> float:
    """The rate for another batch than it was stated for, scaled as the rates that `auto` takes are."""
    scale = batch_size / float(made["batch_size"])
    return float(made["lr"]) * (scale if made.get("optimizer") == "sgd" else scale**0.5)

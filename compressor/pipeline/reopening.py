"""From an artifact back to the recipe it was made by, to go on from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compressor import console, preflight, trust
from compressor import recipe as recipes
from compressor.artifact import Artifact
from compressor.data import guess
from compressor.errors import InputError, RecipeError
from compressor.pipeline.current import SHARED, Run
from compressor.recipe import Recipe


def is_control_of(control: Artifact, student: Artifact) -> bool:
    """Whether `control` is the same network, trained on the same data with the same budget and seed, but no teacher."""
    ours, theirs = control.manifest, student.manifest
    budget = {k: v for k, v in theirs.settings.get("training", {}).items() if k not in recipes.DISTILLATION_ALONE}
    return (
        ours.settings.get("training") == budget
        and ours.settings.get("identity") == theirs.settings.get("identity")
        and ours.settings["data"]["views"] == theirs.settings["data"]["views"]
        and ours.data.get("fingerprint") == theirs.data.get("fingerprint")
        and ours.seed == theirs.seed
    )


def recipe_of(made: Artifact) -> dict[str, Any]:
    """The sections of a recipe that a trained network was made by, so that its training can be looked at again.

    Raises:
        InputError: It was not trained here.
        TrustError: It was made elsewhere and has not been trusted.
    """
    kept = made.manifest.settings
    if made.manifest.stage not in SHARED or "training" not in kept:
        hint = "name a network that compress train or distill has left, or a recipe"
        raise InputError("was not trained here, so there is no training to time", where=str(made.path), hint=hint)
    trust.require_artifact(made, what="whatever its training names (networks, data, losses) would run")
    shared = {"data": kept["data"], "task": kept["task"], "seed": made.manifest.seed}
    if made.manifest.stage == "train":
        return {**shared, "teacher": kept["model"], "train": kept["training"], "stages": ["train"]}
    teacher = made.standing_for("teacher")
    if teacher is None and kept.get("teacher_file"):
        section = {"model": kept["teacher_file"], "kind": kept["kind"], "kind_options": kept["kind_options"]}
    elif teacher is None:
        raise InputError("the teacher of this student is gone", where=str(made.path), hint="name the recipe instead")
    else:
        kind = "network" if "networks" in recipes.takes_of(kept["kind"]) else kept["kind"]  # they are one by now
        section = {"model": str(teacher.path), "kind": kind}
    return {
        **shared,
        "teacher": section,
        "student": kept["model"],
        "distill": kept["training"],
        "stages": ["distill"],
    }


def reopen(source: Artifact, *, raw: Mapping[str, Any], assignments: Sequence[str], command: str = "") -> Run:
    """A run around a network that is there already, with the data it was made with unless other data is named.

    Args:
        source: The network.
        raw: Sections of the recipe that differ from the artifact's own or the defaults (`data`, `export`, `bench`).
        assignments: `a.b=value` overrides of all of it.
        command: What the user types to do this again.

    Raises:
        InputError: The artifact does not say which data it was made with, and none is given; or `name` or `runs` are
            overridden, and not by where it lies.
        RecipeError: The settings have faults.
        TrustError: The data is read by code that an artifact from elsewhere names.
    """
    folder = source.path.resolve().parent
    stated = recipes.override({}, [each for each in assignments if each.partition("=")[0].strip() in ("name", "runs")])
    for option, value in stated.items():
        require_beside(source, option=f"--set {option}", **{option: str(value)})
    own = {"seed": source.manifest.seed, "stages": ["export"], "teacher": {"model": str(source.path)}}
    recipe = settings_for({**own, **raw}, assignments, made_with=source)
    runs = folder.parent.relative_to(Path.cwd()) if folder.parent.is_relative_to(Path.cwd()) else folder.parent
    current = Run(recipe.model_copy(update={"name": folder.name, "runs": str(runs)}), command)
    if "data" not in raw and current.dataset.fingerprint != source.manifest.data.get("fingerprint"):
        console.note(f"the data here is not what {source.path} was made with (its fingerprint differs)")
    return current


def require_beside(source: Artifact, *, option: str, name: str | None = None, runs: str | Path | None = None) -> None:
    """Refuse another place than the artifact's own for what is made from it.

    Args:
        source: The artifact.
        option: Where the place was stated.
        name: That of a run.
        runs: The folder of all runs.

    Raises:
        InputError: It is another.
    """
    folders = {source.path.resolve().parent, source.path.absolute().parent}  # one of them may be reached by a link
    named = name in (None, *(folder.name for folder in folders))
    if not named or (runs is not None and Path(runs).resolve() not in {folder.parent.resolve() for folder in folders}):
        message = f"what is made from {source.path} lies beside it, not in {name or runs}"
        raise InputError(message, where=option, hint="leave it out, or copy the run's folder first")


def settings_for(raw: Mapping[str, Any], assignments: Sequence[str], *, made_with: Artifact | None) -> Recipe:
    """A recipe from sections and overrides; data and task are those an artifact was made with where none are named.

    Raises:
        InputError: No data is named, by the user or by the artifact.
        RecipeError: The settings have faults.
        TrustError: The artifact names code to read the data or to judge outputs, and has not been trusted.
    """
    kept = made_with.manifest.settings if made_with is not None else {}
    own = {name: kept[name] for name in ("data", "task") if name in kept and name not in raw}
    resolved = guess.in_recipe(recipes.override({**own, **raw}, assignments))
    data = recipes.table_of(resolved, "data")
    if not isinstance(data.get("source"), str):
        where = "--data" if made_with is None else str(made_with.path)
        raise InputError("which data?", where=where, hint="add --data D (compress list formats)")
    if made_with is not None:
        _require_trust(made_with, own, resolved)
    found = []
    for key in ("source", "unlabelled"):
        if isinstance(data.get(key), str):
            found += preflight.data_faults(data[key], where=f"data.{key}")
    found = recipes.faults(resolved) + found
    if found:
        raise RecipeError(found, source="command line")
    return recipes.parse(resolved, source="command line")


def _require_trust(made_with: Artifact, own: Mapping[str, Any], resolved: Mapping[str, Any]) -> None:
    """Refuse to run code that the artifact names rather than the user: a data function, a task.

    Args:
        made_with: The artifact.
        own: The sections that were taken over from it.
        resolved: All sections, with overrides and with the formats of their data sources.

    Raises:
        TrustError: The artifact was made elsewhere and has not been trusted.
    """
    for key in ("source", "unlabelled"):
        named, stated = recipes.table_of(resolved, "data").get(key), recipes.table_of(own, "data").get(key)
        if isinstance(stated, str) and named == guess.named(stated) and recipes.split_source(named)[0] == "py":
            trust.require_artifact(made_with, what=f"the data function {named} would run")
    task = str(recipes.table_of(resolved, "task").get("name", ""))
    if ":" in task and task == recipes.table_of(own, "task").get("name"):
        trust.require_artifact(made_with, what=f"the task {task} would run")

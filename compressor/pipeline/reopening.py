"""From an artifact back to the recipe it was made by, to go on from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compressor import console, preflight, trust
from compressor import recipe as recipes
from compressor.artifact import Artifact
from compressor.data import guess
from compressor.errors import InputError, RecipeError, TrustError
from compressor.models import named_source
from compressor.pipeline.current import SHARED, Run
from compressor.pipeline.keys import data_file, file_named, identity, own_code
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
    _require_same_code(made)
    shared = {"data": kept["data"], "task": kept["task"], "seed": made.manifest.seed}
    if made.manifest.stage == "train":
        return {**shared, "teacher": kept["model"], "train": kept["training"], "stages": ["train"]}
    teacher = made.standing_for("teacher")
    if teacher is None and kept.get("teacher_file"):
        section = {"model": kept["teacher_file"], "kind": kept["kind"], "kind_options": kept["kind_options"]}
    elif teacher is None:
        raise InputError("the teacher of this student is gone", where=str(made.path), hint="name the recipe instead")
    else:
        kind = "network" if "networks" in recipes.needs_of(kept["kind"]) else kept["kind"]  # they are one by now
        section = {"model": str(teacher.path), "kind": kind}
    return {
        **shared,
        "teacher": section,
        "student": kept["model"],
        "distill": kept["training"],
        "stages": ["distill"],
    }


def _require_same_code(made: Artifact) -> None:
    """Refuse to go through a training again whose code is not the one it had.

    Raises:
        TrustError: A file was edited since, or is another one of that name.
    """
    kept, hint = made.manifest.settings, "type it where the network was trained, or name the recipe instead"
    now = own_code(kept, {}, beside=made.path)
    changed = [name for name, entry in now.items() if made.manifest.code.get(name, {}).get("files") != entry["files"]]
    model, known = kept["model"], kept.get("identity", {})
    if any(known.get(name) != digest for name, digest in identity(model["model"], arch=model.get("arch")).items()):
        changed.append(model["model"])
    if changed:
        raise TrustError(f"{changed[0]} is not what it was trained with", where=str(made.path), hint=hint)


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
        resolved = _with_code_of(made_with, own, resolved)
        data = recipes.table_of(resolved, "data")
    found = []
    for key in ("source", "unlabelled"):
        if isinstance(data.get(key), str):
            found += preflight.data_faults(data[key], where=f"data.{key}")
    found = recipes.faults(resolved) + found
    if found:
        raise RecipeError(found, source="command line")
    return recipes.parse(resolved, source="command line")


def _with_code_of(made_with: Artifact, own: Mapping[str, Any], resolved: Mapping[str, Any]) -> dict[str, Any]:
    """All sections, naming the very files that the artifact was made with where it names code rather than the user.

    That is a data function, or a task.

    Args:
        made_with: The artifact.
        own: The sections that were taken over from it.
        resolved: All sections, with overrides and with the formats of their data sources.

    Raises:
        TrustError: The artifact was made elsewhere and has not been trusted, or a file was edited since.
    """
    data, task = dict(recipes.table_of(resolved, "data")), dict(recipes.table_of(resolved, "task"))
    for key, option in (("source", "--data"), ("unlabelled", "--set data.unlabelled")):
        named, stated = data.get(key), recipes.table_of(own, "data").get(key)
        if isinstance(stated, str) and isinstance(named, str) and named == guess.named(stated):
            data[key] = _data_of(made_with, named, hint=f"name the data yourself: {option}{_before(option)}{named}")
    name = task.get("name")
    if isinstance(name, str) and ":" in name and name == recipes.table_of(own, "task").get("name"):
        task["name"] = own_member(made_with, name, what="the task", hint=f"name it yourself: --set task.name={name}")
    return {**resolved, "data": data, **({"task": task} if task else {})}


def _before(option: str) -> str:
    return "=" if option.startswith("--set") else " "


def _data_of(made_with: Artifact, named: str, *, hint: str) -> str:
    file = data_file(named)
    if file is None:
        return named
    what = f"the data function {named} would run"
    found = named_source.file_for(made_with, named, named=file, what=what, hint=hint)
    return named if found == file else f"py:{found}:{named.rpartition(':')[2]}"


def own_member(made: Artifact, name: str, *, what: str, hint: str) -> str:
    """A member of a family that an artifact names, as it is to be named here: a file of the user's own has a place.

    Args:
        made: The artifact.
        name: `mine.py:Task`, or `package.module:attr`.
        what: Which member, in words ("the task").
        hint: How the user can name it instead.

    Raises:
        TrustError: The artifact was made elsewhere and has not been trusted, or the file was edited since.
    """
    trust.require_artifact(made, what=f"{what} {name} would run")
    file = file_named(name)
    if file is None:
        return name
    found = named_source.file_for(made, name, named=file, what=f"{what} {name} would run", hint=hint)
    return name if found == file else f"{found}:{name.rpartition(':')[2]}"

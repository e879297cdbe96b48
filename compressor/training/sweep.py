"""Options of losses that are left to a short sweep: each value is tried for a share of the run, and validation decides.

Every trial begins with the weights that the run begins with and sees the views that the run sees first; so where a
teacher's answers are kept, the trials ask it for nothing that the run would not ask. What a finished trial came to is
kept until the run is done: after an interruption the sweep goes on with the trial it was in.
"""

from __future__ import annotations

import ast
import itertools
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from compressor import console, processes, registry, sealed_json
from compressor.artifact import Decision, Target
from compressor.errors import ArtifactError, DivergenceError, InputError
from compressor.files import replacing
from compressor.recipe import SWEPT, DistillSettings, ModelSettings
from compressor.tasks._contract import Task
from compressor.teachers._contract import Teacher
from compressor.training import budget, compiling, engine, resume
from compressor.training.material import Material
from compressor.training.produce import job_for
from compressor.training.sources import losses_of
from compressor.training.start import network_for

_SHARE = 0.1
Values = Mapping[str, float]


def settle(
    student: ModelSettings,
    settings: DistillSettings,
    *,
    teacher: Callable[[], Teacher],
    material: Material,
    target: Target,
) -> tuple[DistillSettings, tuple[Decision, ...]]:
    """The settings with a value for every option that is `auto`, and why it is that one.

    Args:
        student: The network that will be trained.
        settings: Perhaps with options that are `auto`.
        teacher: Who teaches in a trial; the same one each time, or a new one where it learns along.
        material: As for the run; validation decides.
        target: Of the run.

    Raises:
        InputError: There is no validation set to decide by.
        DivergenceError: Every trial diverged.
        InterruptedRunError: Stopped by a signal; the same call goes on.
    """
    names = swept(settings)
    if not names:
        return settings, ()
    if material.dataset.val is None:
        hint = "keep some for it (data.val_share = 0.1), or state a number"
        raise InputError(f"{names[0]} = auto is decided on validation, and there is no such set", hint=hint)
    candidates = _candidates(settings, names)
    settings, _ = budget.settle(settings, num_samples=len(material.dataset.train))
    assert settings.epochs != "auto", "it is settled"
    epochs = max(1, round(_SHARE * settings.epochs))
    records = _Records(place_of(target), key=target.key)
    scores: dict[str, float | None] = {}
    for values in candidates:
        title = _title(values)
        if title in records.finished:
            console.note(f"sweep  {title}: {_shown(material.task, records.finished[title])}, as found before")
            scores[title] = records.finished[title]
            continue
        trial = with_values(settings, values).model_copy(update={"epochs": epochs})
        at = replace(target, folder=records.folder / _file_name(title), key=f"{target.key} {title}", role=title)
        scores[title] = _tried(student, trial, teacher(), material=material, target=at)
        told = _shown(material.task, scores[title])
        console.note(f"sweep  {title}: validation {material.task.primary} {told} after {epochs} epoch(s)")
        records.keep(title, scores[title])
    reached = [(score, values) for values in candidates if (score := scores[_title(values)]) is not None]
    if not reached:
        raise DivergenceError(f"every trial of {', '.join(names)} diverged", hint="lower lr, or state a number")
    larger = material.task.metric(material.task.primary).larger_is_better
    _, best = max(reached, key=lambda each: each[0] if larger else -each[0])  # among equals the first
    told = ", ".join(f"{title} {_shown(material.task, score)}" for title, score in scores.items())
    reason = (
        f"{material.task.primary} on validation after {epochs} of {settings.epochs} epochs from the same weights: {told}; "
        f"among equals the first, which is the default"
    )
    return with_values(settings, best), tuple(Decision(name, f"{best[name]:g}", reason) for name in names)


def swept(settings: DistillSettings) -> tuple[str, ...]:
    """The options that are left to a sweep, in a fixed order."""
    return tuple(name for name in SWEPT if any(name in entry.swept for entry in settings.losses))


def with_values(settings: DistillSettings, values: Values) -> DistillSettings:
    """The settings with these values wherever `auto` stands."""
    losses = [
        entry.model_copy(update={name: values[name] for name in entry.swept}) if entry.swept else entry
        for entry in settings.losses
    ]
    return settings.model_copy(update={"losses": tuple(losses)})


def place_of(target: Target) -> Path:
    """Where finished trials are kept until the run is done."""
    return target.folder.parent / f".{target.folder.name}.sweep"


def discard(target: Target) -> None:
    """Forget the trials of a run that is done."""
    if processes.is_main():
        shutil.rmtree(place_of(target), ignore_errors=True)


def _candidates(settings: DistillSettings, names: tuple[str, ...]) -> list[Values]:
    """Every combination of the values, the defaults first."""
    values = []
    for name in names:
        entry = next(each for each in settings.losses if name in each.swept)
        option = next(each for each in registry.find("losses", entry.name).options if each.name == name)
        default = float(ast.literal_eval(option.default or "1.0"))
        values.append([default, *(value for value in SWEPT[name] if value != default)])
    return [dict(zip(names, combination, strict=True)) for combination in itertools.product(*values)]


def _tried(
    student: ModelSettings,
    settings: DistillSettings,
    teacher: Teacher,
    *,
    material: Material,
    target: Target,
) -> float | None:
    """What a short run comes to on validation; None where it diverged."""
    loaded, _ = network_for(student, dataset=material.dataset, task=material.task, seed=target.seed)
    losses = losses_of(settings, material.task)
    job, _ = job_for(loaded, settings, teacher=teacher, losses=losses, material=material, target=target)
    try:
        trained = engine.fit(job)
    except DivergenceError as fault:
        console.note(f"sweep  {target.role}: {fault.message}")
        return None
    finally:
        if teacher.network is not None:
            compiling.undo(teacher.network)
    if processes.is_main():
        resume.discard(target.state)
    return float(trained.curve[-1]["val"][material.task.primary])


class _Records:
    """What finished trials came to, each in a file of its own. All are read before the first trial begins.

    Args:
        folder: Where they lie.
        key: Of the run; those of another are not believed.
    """

    def __init__(self, folder: Path, *, key: str) -> None:
        self.folder = folder
        self._key = key
        self.finished: dict[str, float | None] = {}
        for file in sorted(folder.glob("*.json")):
            try:
                record = sealed_json.read_file(file)
                if record["key"] == key:
                    self.finished[record["trial"]] = record["score"]
            except (OSError, ValueError, KeyError) as fault:
                console.note(f"sweep  {file.stem}: what was kept of it is damaged ({fault}), so it is tried again")

    def keep(self, trial: str, score: float | None) -> None:
        """Write what a trial came to.

        Raises:
            ArtifactError: The disk is full, or not ours to write.
        """
        if not processes.is_main():
            return
        file = self.folder / f"{_file_name(trial)}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(file) as written:
                kept = {"key": self._key, "trial": trial, "score": score}
                written.write_text(sealed_json.text(kept), encoding="utf-8")
        except OSError as fault:
            message = f"what a trial came to cannot be kept: {fault.strerror}"
            raise ArtifactError(message, where=str(self.folder), hint="is the disk full?") from fault


def _title(values: Values) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def _file_name(title: str) -> str:
    return title.replace(", ", "_").replace(" ", "-")


def _shown(task: Task, score: float | None) -> str:
    return "diverged" if score is None else task.metric(task.primary).shown(score)

"""From a model setting to a trained artifact: what training alone and distilling have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from compressor import artifact, console, processes
from compressor.artifact import Artifact, Decision, Target
from compressor.data.loader import tried
from compressor.data.samples import Dataset, class_groups
from compressor.errors import InputError, ModelError
from compressor.measure.answer_form import OUTPUTS
from compressor.measure.look_ups import LEFT_ALONE
from compressor.models import checkpoint, combined
from compressor.models.build import Loaded
from compressor.recipe import Asking, ModelSettings, TrainingSettings, nothing_to_learn, teacher_faults
from compressor.teachers._contract import Teacher
from compressor.training import engine, resume
from compressor.training.keep import keep
from compressor.training.material import Material
from compressor.training.sources import needs_of_loss, settle
from compressor.training.start import fit_of, network_for
from compressor.views._plan import ViewPlan


def produce(
    model: ModelSettings,
    settings: TrainingSettings,
    *,
    teacher: Teacher,
    losses: tuple[engine.WeightedLoss, ...],
    material: Material,
    target: Target,
    why_teacher: tuple[Decision, ...] = (),
    taught_by: Mapping[str, Any] | None = None,
) -> Artifact:
    """Build `model`, train it on `material` with `losses` against `teacher`, and keep its last epoch.

    Of several processes the main one keeps it; the others wait until it is there.

    Raises:
        ModelError: The network cannot be built or does not fit the data.
        DivergenceError: Training met NaN or exploded.
        InterruptedRunError: Stopped by a signal; the same call goes on.
    """
    loaded, why_network = network_for(model, dataset=material.dataset, task=material.task, seed=target.seed)
    for decision in why_network:
        if decision.what in (OUTPUTS, LEFT_ALONE):
            console.note(f"{target.role}: {decision.what} {decision.choice} — {decision.reason}")
    return train_from(
        loaded,
        settings,
        teacher=teacher,
        losses=losses,
        material=material,
        target=target,
        why=(*why_network, *why_teacher),
        taught_by=taught_by,
    )


def train_from(
    loaded: Loaded,
    settings: TrainingSettings,
    *,
    teacher: Teacher,
    losses: tuple[engine.WeightedLoss, ...],
    material: Material,
    target: Target,
    why: tuple[Decision, ...] = (),
    taught_by: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
    title: str | None = None,
) -> Artifact:
    """Train a network that is there already, in place, and keep its last epoch; see `produce`.

    Args:
        why: What was chosen before.
        details: What its manifest keeps beside the curve.
        title: What the progress bar calls it; by default its role.
    """
    require_keepable(loaded, material.dataset)
    job, why_views = job_for(loaded, settings, teacher=teacher, losses=losses, material=material, target=target)
    if title is not None:
        job = replace(job, title=title)
    trained = engine.fit(job)
    if not processes.is_main():
        return artifact.await_other(target.folder, key=target.key)
    kept = keep(
        loaded.with_network(trained.network),
        target=target,
        dataset=material.dataset,
        task=material.task,
        decisions=(*why, *why_views, *trained.decisions),
        details={
            "curve": trained.curve,
            "interruptions": trained.interruptions,
            "teacher": {**(taught_by or {"kind": "none"}), "asked": trained.asked},
            "processes": processes.world_size(),
            **(details or {}),
        },
        elapsed_s=trained.elapsed_s,
    )
    resume.discard(target.state)
    return kept


def job_for(
    loaded: Loaded,
    settings: TrainingSettings,
    *,
    teacher: Teacher,
    losses: tuple[engine.WeightedLoss, ...],
    material: Material,
    target: Target,
) -> tuple[engine.Job, tuple[Decision, ...]]:
    """What the loop needs to train `loaded`, and why its views are what they are."""
    shown, why_views = material.views()
    taps, why_taps = settle(
        losses,
        student=loaded.network,
        teacher=teacher,
        example=tried(material.dataset.example(2)),
        labels=class_groups(material.dataset.train),
        seed=target.seed,
    )
    count = 0 if material.data.views.count == "auto" else material.data.views.count
    _require_something_to_learn(teacher, losses, material)
    if teacher.pairing() is not None and shown.mixes:
        hint = "leave out data.views.mixup and data.views.cutmix"
        raise InputError("this teacher pairs samples by their labels, and mixed samples have several", hint=hint)
    job = engine.Job(
        title=target.role,
        key=target.key,
        state=target.state,
        resume_line=target.command,
        network=loaded.network,
        teacher=teacher,
        losses=losses,
        task=material.task,
        dataset=material.dataset,
        plan=ViewPlan(shown, count, seed=material.data.views.seed if count else target.seed),
        settings=settings,
        seed=target.seed,
        taps=taps,
    )
    return job, (*why_views, *why_taps)


def _require_something_to_learn(teacher: Teacher, losses: tuple[engine.WeightedLoss, ...], material: Material) -> None:
    """Refuse samples of which none has a label where labels are what is learned from, and those all of one class.

    Raises:
        InputError: A network would learn from nothing.
    """
    dataset = material.dataset
    if len(dataset.classes) < 2 and "one_class" in material.task.gives:
        told = f"all samples are of one class, '{dataset.classes[0]}', so there is nothing to tell apart"
        raise InputError(told, where=dataset.source, hint="give samples of two classes, or another [task]")
    if dataset.train.labelled.any():
        return
    learning = [Asking(part.name, needs_of_loss(part.loss), "") for part in losses]
    taught_by = Asking(type(teacher).__name__, teacher.needs, "")
    for fault in (*nothing_to_learn(learning), *teacher_faults(taught_by, task=None, labels=False)):
        raise InputError(fault.message, hint=fault.hint)


def require_keepable(loaded: Loaded, dataset: Dataset) -> None:
    """Refuse, before anything is spent, a network that could be trained but not kept.

    Raises:
        ModelError: It comes whole in a file, so there is no code to put other weights into; or it is several networks, which
            are kept one by one, as they came.
        ArtifactError: Its builder does not build the same network again.
    """
    if loaded.builder.form == "file":
        raise ModelError(
            f"a {loaded.builder.target} file can teach but not be trained: there is no code to put other weights into",
            where=loaded.origin,
            hint="give the code that builds it: file.py:callable",
        )
    if loaded.builder.form == combined.FORM:
        raise ModelError(
            f"{loaded.title} can teach but not be changed as one network",
            where=loaded.origin,
            hint="distil it into one student first: compress distill",
        )
    with tempfile.TemporaryDirectory() as folder:
        details = checkpoint.write(Path(folder), loaded, fit=fit_of(dataset))
        inputs = tried(dataset.example(2))
        checkpoint.compare_read_back(Path(folder), details, network=loaded.network, inputs=inputs)

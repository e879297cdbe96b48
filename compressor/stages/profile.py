"""Time the steps of a training before it is run, or after; the only stage that leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

from compressor import artifact
from compressor.artifact import Target
from compressor.losses.hard import Hard
from compressor.recipe import DistillSettings, ModelSettings, TeacherSettings, TrainingSettings, needs_of
from compressor.teachers._contract import Teacher
from compressor.teachers._frozen import Frozen
from compressor.teachers.none import NoTeacher
from compressor.training.engine import WeightedLoss
from compressor.training.material import Material
from compressor.training.produce import job_for
from compressor.training.profile import Profile, profile
from compressor.training.sources import losses_of
from compressor.training.start import network_for
from compressor.training.teaching import Teaching, folded, form_for, make


def profile_training(
    model: ModelSettings,
    settings: TrainingSettings,
    *,
    material: Material,
    target: Target,
    steps: int,
) -> list[Profile]:
    """Time steps of training `model` on the labels alone.

    Raises:
        ModelError: The network cannot be built or does not fit the data.
    """
    loaded, _ = network_for(model, dataset=material.dataset, task=material.task, seed=target.seed)
    losses = (WeightedLoss("hard", 1.0, Hard()),)
    job, _ = job_for(loaded, settings, teacher=NoTeacher(), losses=losses, material=material, target=target)
    return profile(job, teacher=None, steps=steps)


def profile_distilling(
    student: ModelSettings,
    settings: DistillSettings,
    *,
    teacher: TeacherSettings,
    material: Material,
    target: Target,
    steps: int,
) -> list[Profile]:
    """Time steps of distilling, with the teacher asked and with its answers kept.

    Raises:
        ModelError: Student or teacher cannot be built or do not fit the data.
    """
    loaded, _ = network_for(student, dataset=material.dataset, task=material.task, seed=target.seed)
    live: Teacher
    if "file" in needs_of(teacher.kind):
        file = Path(teacher.model)
        source = artifact.read(file).file("model.onnx") if artifact.is_artifact(file) else file
        live = make(
            Teaching(teacher.kind, teacher.kind_options, source),
            network=None,
            material=material,
            seed=target.seed,
        )
    elif teacher.model:
        taught_by, _ = network_for(teacher, dataset=material.dataset, task=material.task, seed=target.seed)
        live = Frozen(folded(taught_by.network, dataset=material.dataset)[0])
    else:
        alone = Teaching(teacher.kind, teacher.kind_options, peers=teacher.members or (student,))
        live = make(alone, network=None, material=material, seed=target.seed)
    job, _ = job_for(
        loaded,
        settings,
        teacher=live,
        losses=losses_of(settings, material.task),
        material=material,
        target=target,
    )
    form, _ = form_for(material, cache_gb=settings.cache_gb)
    return profile(job, teacher=live, steps=steps, form=form)

"""From settings to what a student learns from: its losses, and its teacher with the answers it has given before."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch

from compressor import artifact, caches, registry
from compressor.artifact import Artifact, Decision
from compressor.data.loader import to_float
from compressor.data.samples import Dataset
from compressor.data.views import views
from compressor.errors import ArtifactError
from compressor.models import checkpoint, folding
from compressor.models.network import Network
from compressor.recipe import DataSettings, DistillSettings, RecoverySettings
from compressor.teachers._cache import CachedTeacher, choose_form
from compressor.teachers._contract import Teacher
from compressor.teachers._records import AnswerStore
from compressor.training import precision
from compressor.training.engine import WeightedLoss
from compressor.training.start import require_same_classes

_COMPARED = 32


def losses_of(settings: DistillSettings | RecoverySettings) -> tuple[WeightedLoss, ...]:
    """The losses with the names they have in logs: that of the member, numbered when it stands there more than once.

    Raises:
        InputError: A loss refuses its options.
    """
    made: list[WeightedLoss] = []
    for entry in settings.losses:
        member = registry.find("losses", entry.name)
        name = member.attr if ":" in entry.name else member.name
        earlier = sum(each.name.partition("-")[0] == name for each in made)
        name = f"{name}-{earlier + 1}" if earlier else name
        made.append(WeightedLoss(name, entry.weight, member.load()(**entry.options)))
    return tuple(made)


def teacher_of(
    source: Artifact,
    settings: DistillSettings | RecoverySettings,
    *,
    kind: str,
    data: DataSettings,
    dataset: Dataset,
) -> tuple[Teacher, tuple[Decision, ...]]:
    """The teacher that an artifact is, with BatchNorm folded in, and with its answers kept where views are counted.

    Raises:
        ModelError: It knows other classes than the data.
    """
    require_same_classes(source, dataset, what="teacher")
    network = checkpoint.load(source).network
    conditions = precision.choose(settings, network, sample_shape=dataset.sample_shape)
    teacher, why_folded = frozen(network, kind=kind, dataset=dataset)
    count = 0 if data.views.count == "auto" else data.views.count
    if count == 0 or settings.cache_gb == 0 or not may_be_kept(teacher):
        return teacher, (why_folded,)
    form, why_form = choose_form(
        num_samples=len(dataset.train),
        num_classes=len(dataset.classes),
        num_views=count,
        budget_bytes=round(settings.cache_gb * 1e9),
    )
    shown, _ = views.resolve(data.views, sample_shape=dataset.sample_shape)
    key = artifact.key_of(
        teacher={"files": dict(source.manifest.files), "network": source.manifest.details["network"]},
        kind=kind,
        data=dataset.fingerprint,
        views=asdict(shown) | {"seed": data.views.seed, "scheme": views.SCHEME},
        precision=conditions.precision,
        form=str(form),
    )
    about = {"teacher": str(source.path.resolve()), "data": data.source, "precision": conditions.precision}
    try:
        folder = caches.open_cache("teacher", key, about)
    except ArtifactError as fault:
        return teacher, (why_folded, Decision("teacher cache", "none", str(fault)))
    store = AnswerStore(
        folder,
        key=key,
        num_samples=len(dataset.train),
        form=form,
    )
    return CachedTeacher(teacher, store), (why_folded, why_form)


def frozen(network: Network, *, kind: str, dataset: Dataset) -> tuple[Teacher, Decision]:
    """A teacher of a network that no longer changes, with BatchNorm folded in where that changes no answer."""
    some = dataset.train.fetch(np.arange(min(_COMPARED, len(dataset.train)), dtype=np.int64))
    folded, why = folding.fold_batch_norm(network, to_float(torch.from_numpy(some)))
    teacher: Teacher = registry.find("teachers", kind).load()(folded)
    return teacher, Decision("teacher's BatchNorm folded", "no" if folded is network else "yes", why)


def may_be_kept(teacher: Teacher) -> bool:
    """Whether an answer to a view stays the same for ever, and is made of logits alone."""
    return not (teacher.trainable or teacher.needs_labels or bool(getattr(teacher, "taps", ())))

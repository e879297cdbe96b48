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
from compressor.errors import ArtifactError, InputError, ModelError
from compressor.losses._features import FeatureLoss
from compressor.models import checkpoint, folding
from compressor.models.network import Network
from compressor.models.taps import feature_shapes
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
    features = [part.name for part in made if isinstance(part.loss, FeatureLoss)]
    if features and isinstance(settings, RecoverySettings):
        raise InputError(
            f"'{features[0]}' reads features, and recovery compares answers alone", where="losses", hint="use kd here"
        )
    if len(features) == len(made):
        raise InputError(
            f"'{features[0]}' looks at features alone, which leaves the last layer untaught",
            where="distill.losses",
            hint='add kd (or hard) beside it: a second [[distill.losses]] with name = "kd"',
        )
    return tuple(made)


def teacher_of(
    source: Artifact,
    settings: DistillSettings | RecoverySettings,
    *,
    kind: str,
    data: DataSettings,
    dataset: Dataset,
    reads_features: bool = False,
) -> tuple[Teacher, tuple[Decision, ...]]:
    """The teacher that an artifact is, with BatchNorm folded in, and with its answers kept where views are counted.

    Raises:
        ModelError: It knows other classes than the data.
    """
    require_same_classes(source, dataset, what="teacher")
    network = checkpoint.load(source).network
    conditions = precision.choose(settings, network, sample_shape=dataset.sample_shape)
    if reads_features:
        live: Teacher = registry.find("teachers", kind).load()(network)
        return live, (Decision("teacher cache", "none", "a loss reads features, which are too large to keep"),)
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


def settle(
    losses: tuple[WeightedLoss, ...], *, student: Network, teacher: Teacher, sample_shape: tuple[int, ...], seed: int
) -> tuple[tuple[str, ...], tuple[Decision, ...]]:
    """Tell losses that read features what shapes they have, and the teacher which features to give.

    Returns:
        Paths of the student's modules that are read, and what was chosen.

    Raises:
        ModelError: There is nothing to compare, or the teacher gives no features.
    """
    reading = [(part.name, part.loss) for part in losses if isinstance(part.loss, FeatureLoss)]
    if not reading:
        return (), ()
    if not teacher.gives_features or teacher.network is None:
        raise ModelError(
            f"'{reading[0][0]}' reads features, which this kind of teacher does not give", where="distill.losses"
        )
    some = torch.zeros(2, *sample_shape)
    mine, theirs = feature_shapes(student, some), feature_shapes(teacher.network, some)
    torch.manual_seed(seed)  # what a loss builds begins the same for the same seed
    decisions = tuple(Decision(f"features of {name}", "", loss.settle(mine, theirs)) for name, loss in reading)
    pairs = [pair for _, loss in reading for pair in loss.pairs]
    teacher.taps = tuple(dict.fromkeys(path for _, path in pairs))  # type: ignore[attr-defined]
    return tuple(dict.fromkeys(path for path, _ in pairs)), decisions


def read_features(losses: tuple[WeightedLoss, ...]) -> bool:
    """Whether any of the losses compares features."""
    return any(isinstance(part.loss, FeatureLoss) for part in losses)


def frozen(network: Network, *, kind: str, dataset: Dataset) -> tuple[Teacher, Decision]:
    """A teacher of a network that no longer changes, with BatchNorm folded in where that changes no answer."""
    some = dataset.train.fetch(np.arange(min(_COMPARED, len(dataset.train)), dtype=np.int64))
    folded, why = folding.fold_batch_norm(network, to_float(torch.from_numpy(some)))
    teacher: Teacher = registry.find("teachers", kind).load()(folded)
    return teacher, Decision("teacher's BatchNorm folded", "no" if folded is network else "yes", why)


def may_be_kept(teacher: Teacher) -> bool:
    """Whether an answer to a view stays the same for ever, and is made of logits alone."""
    return not (teacher.trainable or teacher.needs_labels or bool(getattr(teacher, "taps", ())))

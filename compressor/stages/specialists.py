"""A generalist becomes a generalist with specialists: clusters of classes it confuses, and a network for each of them.

Hinton, Vinyals, Dean 2015 (arXiv 1503.02531), section 5. Each specialist begins with the generalist's weights, has its
last layer replaced by its classes and a dustbin, and is trained on samples of which half are of its classes.

Not covered: making one network of them all (`adopt.combine`), whose rule is `teachers/specialists.py`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from compressor import artifact, trust
from compressor.artifact import Artifact, Decision, Target
from compressor.data.loader import tried
from compressor.data.open import open_dataset
from compressor.data.relabel import with_dustbin
from compressor.data.samples import Dataset
from compressor.errors import InputError
from compressor.losses.hard import Hard
from compressor.losses.kd import KD
from compressor.measure import machine
from compressor.measure.accuracy import predict
from compressor.models import checkpoint, head
from compressor.recipe import DataSettings, SpecialistSettings, TaskSettings
from compressor.runtimes.torch import TorchEager
from compressor.teachers._contract import Teacher
from compressor.teachers._frozen import Frozen
from compressor.teachers.none import NoTeacher
from compressor.tensors import LOGITS
from compressor.training import apart
from compressor.training.clusters import confusable, covariation_of, probabilities_of
from compressor.training.engine import WeightedLoss
from compressor.training.material import Material
from compressor.training.produce import train_from
from compressor.training.start import require_same_classes, task_of

CLUSTERS = "clusters.json"
_FEWEST_CLASSES = 4
_COMPARED = 8


@dataclass(frozen=True)
class Wanted:
    """One specialist that is to be trained.

    Attributes:
        number: From 1; among all of the run, those that are there already included.
        classes: By position.
        target: What to leave behind.
    """

    number: int
    classes: tuple[int, ...]
    target: Target


def require_enough_classes(num_classes: int, *, count: int) -> None:
    """Refuse more clusters than there can be.

    Raises:
        InputError: There are fewer than four classes, or fewer than two for each cluster.
    """
    if num_classes < _FEWEST_CLASSES:
        hint = "use the network alone: leave out kind (--teacher-kind)"
        raise InputError(f"{num_classes} classes are too few for specialists", where="teacher.kind", hint=hint)
    if count > num_classes / 2:
        raise InputError(
            f"{count} clusters of {num_classes} classes leave fewer than two for each",
            where="specialists.count",
            hint=f"write --set specialists.count={num_classes // 2} or less",
        )


def cluster(generalist: Artifact, settings: SpecialistSettings, *, dataset: Dataset, target: Target) -> Artifact:
    """Find the groups of classes that a network confuses on the training set.

    Raises:
        ModelError: It knows other classes than the data.
        InputError: The data has too few classes.
    """
    started = time.perf_counter()
    require_same_classes(generalist, dataset, what="generalist")
    require_enough_classes(len(dataset.classes), count=settings.count)
    logits_NK = predict(TorchEager.from_network(checkpoint.load(generalist).network), dataset.train)[LOGITS]
    covariation_KK = covariation_of(probabilities_of(logits_NK))
    found = confusable(covariation_KK, count=settings.count, names=dataset.classes, seed=target.seed)
    with artifact.folder_for(target.folder) as folder:
        content = {
            "classes": list(dataset.classes),
            "clusters": found.groups,
            "alone": found.alone,
            "correlation": np.round(covariation_KK, 6).tolist(),
        }
        (folder / CLUSTERS).write_text(json.dumps(content, indent=1), encoding="utf-8")
        manifest = replace(
            target.manifest("clusters"),
            data=dataset.describe(),
            details={"clusters": [list(group) for group in found.groups]},
            decisions=(*target.decisions, *found.decisions),
            machine=machine.describe(),
            elapsed_s=time.perf_counter() - started,
        )
        return artifact.seal(folder, target.folder, manifest)


def clusters_in(made: Artifact) -> tuple[tuple[int, ...], ...]:
    """The groups that `cluster` found, by position of their classes."""
    return tuple(tuple(group) for group in made.manifest.details["clusters"])


def oversampled_in(specialist: Artifact) -> float:
    """How many times too often a specialist's classes stood in its training set."""
    return float(specialist.manifest.details["specialist"]["oversampled"])


def specialize(
    generalist: Artifact,
    settings: SpecialistSettings,
    wanted: Sequence[Wanted],
    *,
    of: int,
    data: DataSettings,
    dataset: Dataset,
    task: TaskSettings,
) -> list[Artifact]:
    """Train specialists from a generalist, side by side.

    Args:
        generalist: Whose weights they begin with.
        settings: How each is trained.
        wanted: Which ones.
        of: How many the run has in all, so that one that is made again has the same threads.
        data: Where `dataset` came from; processes of their own open it again.
        dataset: What the generalist knows.
        task: What outputs mean.

    Raises:
        ModelError: The generalist's last layer cannot be replaced.
        DivergenceError: A training met NaN or exploded.
        InterruptedRunError: Stopped by a signal; the same call goes on.
    """
    at_once, threads, why = _shares(settings, of)
    calls = [
        apart.Call(
            f"specialist-{each.number}",
            train_one,
            {
                "generalist": generalist,
                "settings": _on_its_device(settings, each.number),
                "wanted": replace(each, target=replace(each.target, decisions=(*each.target.decisions, why))),
                "data": data,
                "task": task,
            },
        )
        for each in wanted
    ]
    if at_once == 1:
        return [call.function(**call.arguments, dataset=dataset) for call in calls]
    return apart.run(calls, at_once=at_once, threads=threads, resume_line=wanted[0].target.command if wanted else "")


def train_one(
    generalist: Artifact,
    settings: SpecialistSettings,
    wanted: Wanted,
    data: DataSettings,
    task: TaskSettings,
    dataset: Dataset | None = None,
) -> Artifact:
    """Train one specialist in this process; see `specialize`."""
    target = wanted.target
    own, oversampled = with_dustbin(dataset or open_dataset(data), wanted.classes, seed=target.seed)
    loaded = checkpoint.load(generalist)
    inputs = tried(own.example(_COMPARED))
    specialist = head.with_dustbin(loaded, wanted.classes, oversampled=oversampled, inputs=inputs)
    named = ", ".join(own.classes[:-1])
    decisions = (
        Decision("weights", loaded.title, "a specialist begins with its generalist's, its dustbin with their mean"),
        Decision(
            "samples",
            f"{len(own.train)}: {named}, and others",
            f"half are of its classes, which stand there {oversampled:.3g} times too often; the rule makes up for it",
        ),
    )
    teacher: Teacher = NoTeacher()
    losses = (WeightedLoss("hard", 1.0, Hard()),)
    if settings.soft > 0:
        teacher = Frozen(_OfCluster(loaded.network, wanted.classes, oversampled))
        losses = (WeightedLoss("kd", 1.0, KD(temperature=settings.temperature, alpha=settings.soft)),)
    made = train_from(
        replace(specialist, title=f"specialist {wanted.number} ({named})"),
        settings,
        teacher=teacher,
        losses=losses,
        material=Material(own, data, task_of(task, label_smoothing=settings.label_smoothing)),
        target=target,
        why=decisions,
        taught_by={"kind": "network", "options": {}, "title": loaded.title} if settings.soft > 0 else None,
        details={"specialist": {"classes": list(wanted.classes), "oversampled": oversampled}},
        title=f"specialist-{wanted.number}",
    )
    trust.remember_made(made)  # at once, since the run may be stopped before the others are done
    return made


class _OfCluster(nn.Module):
    """What a generalist says of some classes and of all others together, under a specialist's shares of samples."""

    def __init__(self, network: nn.Module, classes: Sequence[int], oversampled: float) -> None:
        super().__init__()
        self.network = network
        self.inside = list(classes)
        self.oversampled = oversampled

    def forward(self, inputs: Tensor) -> Tensor:
        logits_BK = self.network(inputs).float()
        inside_K = torch.zeros(logits_BK.shape[1], dtype=torch.bool, device=logits_BK.device)
        inside_K[self.inside] = True
        rest_B1 = logits_BK[:, ~inside_K].logsumexp(dim=1, keepdim=True) - float(np.log(self.oversampled))
        return torch.cat([logits_BK[:, self.inside], rest_B1], dim=1)


def _shares(settings: SpecialistSettings, count: int) -> tuple[int, int, Decision]:
    """How many processes train at once, with how many threads each, and why."""
    cores, gpus = machine.usable_cores(), torch.cuda.device_count()
    if settings.processes != "auto":
        at_once, why = min(settings.processes, count), "as stated"
    elif settings.device in ("auto", "cuda") and torch.cuda.is_available():
        at_once, why = min(gpus, count), f"one for each of {gpus} GPUs"
    elif settings.device in ("auto", "cpu") and not torch.backends.mps.is_available():
        at_once, why = min(cores, count), f"{count} specialists on {cores} cores"
    else:
        at_once, why = 1, f"they share one device ({settings.device})"
    threads = max(1, min(cores, int(os.environ.get("OMP_NUM_THREADS") or cores)) // at_once)
    return at_once, threads, Decision("processes at once", str(at_once), f"{why}; threads of each: {threads}")


def _on_its_device(settings: SpecialistSettings, number: int) -> SpecialistSettings:
    """A GPU of its own for each, where there are several."""
    gpus = torch.cuda.device_count()
    if gpus < 2 or settings.device not in ("auto", "cuda"):
        return settings
    return settings.model_copy(update={"device": f"cuda:{(number - 1) % gpus}"})

"""The network a training run starts from: built under the run's seed, fitted to the data, with its normalisation."""

from __future__ import annotations

import torch

from compressor import registry
from compressor.artifact import Artifact, Decision
from compressor.data.samples import Dataset
from compressor.errors import InputError, ModelError
from compressor.measure import normalisation
from compressor.models import load
from compressor.models.build import Fit, Loaded
from compressor.recipe import ModelSettings, TaskSettings
from compressor.tasks._contract import Task


def fit_of(dataset: Dataset) -> Fit:
    """What a network must take and give to fit a data set."""
    return Fit(num_classes=len(dataset.classes), sample_shape=dataset.sample_shape)


def task_of(settings: TaskSettings, *, label_smoothing: float) -> Task:
    """What outputs mean, with smoothed labels where the task knows them.

    Raises:
        InputError: It refuses its options.
    """
    member = registry.find("tasks", settings.name)
    takes = {option.name for option in member.options}
    smoothing = {"label_smoothing": label_smoothing} if "label_smoothing" in takes else {}
    task: Task = member.load()(**(smoothing | settings.options))
    return task


def require_labels_of(task: Task, dataset: Dataset) -> None:
    """Refuse data whose labels are classes where the task takes sets of them, or the other way round.

    Raises:
        InputError: They do not fit.
    """
    takes_sets = getattr(task, "label_sets", False)
    if takes_sets == dataset.label_sets:
        return
    if takes_sets:
        message, hint = "this task takes a set of classes for each sample", "give labels as zeros and ones [N, K]"
    else:
        message = "a label here is a set of classes, and this task takes one class for each sample"
        hint = 'write name = "multilabel" in [task], or give class indices [N]: y.argmax(axis=1)'
    raise InputError(message, where=dataset.source, hint=hint)


def require_same_classes(source: Artifact, dataset: Dataset, *, what: str) -> None:
    """Refuse data whose classes are not those that a network knows, in the same order.

    Raises:
        ModelError: They differ; names the first ones of both.
    """
    knows = tuple(source.manifest.data.get("classes", dataset.classes))
    if knows != dataset.classes:
        raise ModelError(
            f"the {what} knows {len(knows)} classes ({', '.join(knows[:3])}, ...), "
            f"the data has {len(dataset.classes)} ({', '.join(dataset.classes[:3])}, ...)",
            where=str(source.path),
            hint=f"{what} and data need the same classes in the same order",
        )


def network_for(
    settings: ModelSettings, *, dataset: Dataset, task: Task, seed: int
) -> tuple[Loaded, tuple[Decision, ...]]:
    """The network that a spec means, fitted to the data; the same weights for the same seed.

    Raises:
        ModelError: It cannot be built, or does not fit the data.
    """
    torch.manual_seed(seed)
    loaded = load.load(
        settings.model,
        arch=settings.arch,
        num_classes=len(dataset.classes),
        sample_shape=dataset.sample_shape,
        options=settings.options,
    )
    decisions = normalisation.settle(loaded, settings, dataset=dataset, task=task)
    return loaded, (*(Decision("checkpoint", loaded.title, step) for step in loaded.steps), *decisions)

"""The network a training run starts from: built under the run's seed, fitted to the data, with its normalisation."""

from __future__ import annotations

import numpy as np
import torch

from compressor import registry
from compressor.artifact import Artifact, Decision
from compressor.data import token_samples
from compressor.data.loader import tried
from compressor.data.samples import Dataset
from compressor.errors import FOREIGN_FAULTS, InputError, MeasurementError, ModelError
from compressor.measure import normalisation
from compressor.measure.answer_form import settle_outputs
from compressor.measure.steadiness import SAMPLES, answering, require_steady
from compressor.models import load
from compressor.models.build import Fit, Loaded
from compressor.recipe import ModelSettings, TaskSettings
from compressor.tasks._contract import NumberTask, Task
from compressor.tensors import LABEL, MASK, MEMBERS, VALUES, Schema, TensorSpec

_WORDS: dict[tuple[str, ...], str] = {
    (LABEL,): "one class",
    (MEMBERS,): "a set of classes",
    (VALUES,): "numbers",
    (MASK,): "a class of each pixel",
}
_TASKS = {
    "one class": "classification",
    "a set of classes": "multilabel",
    "numbers": "regression",
    "a class of each pixel": "segmentation",
}
_LABELS = {
    "one class": "whole numbers [N] (of rows: y.argmax(axis=1))",
    "a set of classes": "zeros and ones [N, K]",
    "numbers": "floats [N] or [N, K]",
    "a class of each pixel": "masks beside the pictures (masks:FOLDER)",
}


def fit_of(dataset: Dataset) -> Fit:
    """What a network must take and give to fit a data set."""
    only = dataset.inputs.only
    return Fit(
        num_classes=len(dataset.classes),
        sample_shape=dataset.fixed_shape or None,
        vocabulary=dataset.vocabulary,
        kind="" if only is None else only.kind,
    )


def task_of(settings: TaskSettings, *, label_smoothing: float) -> Task:
    """What outputs mean, with smoothed labels where the task knows them.

    Raises:
        InputError: It refuses its options, or does not say what it gives.
    """
    member = registry.find("tasks", settings.name)
    takes = {option.name for option in member.options}
    if label_smoothing and "label_smoothing" not in takes:
        raise InputError(f"'{member.name}' smooths no labels", where="label_smoothing", hint="leave it out")
    smoothing = {"label_smoothing": label_smoothing} if "label_smoothing" in takes else {}
    task: Task = member.load()(**(smoothing | settings.options))
    if not hasattr(task, "gives"):
        hint = 'write gives = ("rows:softmax", "one_class") in its class, or what its outputs and targets are instead'
        raise InputError(f"'{member.attr}' does not say what it gives", where="task.name", hint=hint)
    return task


def require_labels_of(task: Task, dataset: Dataset) -> None:
    """Refuse data whose labels are not of the kind that the task takes: a class, a set of classes, or numbers.

    Raises:
        InputError: They do not fit.
    """
    wanted, given = task.targets(dataset.classes), dataset.targets
    if all(spec.name in given and _is(given[spec.name], spec) for spec in wanted):
        return
    takes, has = _in_words(wanted), _in_words(given)
    others = f'write name = "{_TASKS[has]}" in [task], or ' if has in _TASKS else ""
    raise InputError(
        f"this task takes {takes} for each sample, and the data has {has}",
        where=dataset.source,
        hint=f"{others}give labels as {_LABELS.get(takes, str(wanted))}",
    )


def _is(given: TensorSpec, wanted: TensorSpec) -> bool:
    return given.dtype == wanted.dtype and wanted.admits(given.shape)


def _in_words(targets: Schema) -> str:
    """What targets are, in words where they are of a usual kind."""
    return _WORDS.get(targets.names, str(targets))


def for_data(task: Task, dataset: Dataset) -> tuple[Task, tuple[Decision, ...]]:
    """The task with what it must know of the data: for numbers, the targets and how they are spread."""
    if not isinstance(task, NumberTask) or VALUES not in dataset.targets:
        return task, ()
    fitted = task.for_spread(dataset.target_statistics[1])
    assert fitted.tolerances is not None
    told = ", ".join(f"{name} {value:.4g}" for name, value in zip(dataset.classes, fitted.tolerances, strict=True))
    by_data = "a quarter of the standard deviation of the training targets; task.options.tolerance states another"
    stated = bool(np.any(np.asarray(task.tolerance) > 0))
    return fitted, (Decision("tolerance", told, "it is stated" if stated else by_data),)


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


def built_for(
    settings: ModelSettings, *, dataset: Dataset, task: Task, seed: int, as_it_is: bool = False
) -> tuple[Loaded, tuple[Decision, ...]]:
    """The network that a spec means, which takes these samples and gives what the task needs; not normalized yet.

    Args:
        settings: The spec and its options.
        dataset: What it is for.
        task: What its outputs mean.
        seed: Of weights that are drawn.
        as_it_is: Whether it is to be used without training, so that it matters whether its builder gives it weights.

    Raises:
        ModelError: It cannot be built, or does not fit the data.
    """
    torch.manual_seed(seed)
    fit = vars(fit_of(dataset))
    loaded = load.load(settings.model, arch=settings.arch, options=settings.options, **fit)
    if as_it_is and not loaded.trained:
        loaded = load.with_weights_of_its_builder(loaded, settings.model, options=settings.options, **fit)
    _require_texts_fit(loaded, dataset, where=settings.model)
    return loaded, _look_at(loaded, dataset=dataset, task=task, where=settings.model)


def network_for(
    settings: ModelSettings, *, dataset: Dataset, task: Task, seed: int, as_it_is: bool = False
) -> tuple[Loaded, tuple[Decision, ...]]:
    """The network that a spec means, fitted to the data; the same weights for the same seed.

    Raises:
        ModelError: It cannot be built, or does not fit the data.
    """
    loaded, why_outputs = built_for(settings, dataset=dataset, task=task, seed=seed, as_it_is=as_it_is)
    steps = tuple(Decision("checkpoint", loaded.title, step) for step in loaded.steps)
    decisions = normalisation.settle(loaded, settings, dataset=dataset, task=task)
    return loaded, (*steps, *why_outputs, *decisions)


def _require_texts_fit(loaded: Loaded, dataset: Dataset, *, where: str) -> None:
    """Refuse a network that does not take the last token of the tokenizer, or a text as long as the longest.

    Raises:
        ModelError: It does not.
    """
    lengths = token_samples.lengths_of(dataset.train)
    if dataset.vocabulary is None or lengths is None:
        return
    longest = dataset.train.fetch(np.array([lengths.argmax()]))
    last = {**longest, token_samples.IDS: np.full_like(longest[token_samples.IDS], dataset.vocabulary - 1)}
    short = {name: array[:, :1] for name, array in last.items()}
    attempts = (
        (
            short,
            f"token {dataset.vocabulary - 1}, the last of its tokenizer",
            "name the tokenizer that the network was made for (data.options.tokenizer), or let its builder take vocab_size",
        ),
        (
            last,
            f"a text of {lengths.max()} tokens",
            f"cut texts: --set data.options.max_length=N (now up to {lengths.max()})",
        ),
    )
    for inputs, what, hint in attempts:
        try:
            with torch.no_grad():
                loaded.network(tried(inputs))
        except FOREIGN_FAULTS as fault:
            first = str(fault).strip().split("\n")[0]
            raise ModelError(f"the network does not take {what}: {first}", where=where, hint=hint) from fault


def _look_at(loaded: Loaded, *, dataset: Dataset, task: Task, where: str) -> tuple[Decision, ...]:
    """Ask a network about a few samples: it must answer them alike each time, and in logits, or what can become them.

    Raises:
        ModelError: Its answers change from call to call, or with the other samples of the batch.
    """
    some = dataset.example(SAMPLES)
    try:
        answers = require_steady(answering(loaded.network), some, network=loaded.network, where=where)
    except MeasurementError:
        return ()  # not on these samples as they are: the normalisation is yet to come
    task.check_outputs(answers.shape, len(dataset.classes))
    return settle_outputs(loaded.network, answers, inputs=tried(some), task=task)

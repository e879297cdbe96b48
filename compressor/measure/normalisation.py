"""Which input normalisation a network gets: stated, brought along, taken from the data, or found by measuring.

A checkpoint does not say what its pixels were normalised with, and the wrong guess costs points silently. So for a trained
network without a word about it, the common ones are tried on training samples and the most accurate is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.artifact import Decision
from compressor.data.samples import Dataset, Samples, SubsetSamples, all_targets
from compressor.data.statistics import channel_statistics
from compressor.data.unlabelled import labelled
from compressor.errors import ModelError
from compressor.measure.accuracy import predict
from compressor.models import normalisation
from compressor.models.build import Loaded
from compressor.models.normalisation import Normalisation
from compressor.recipe import ModelSettings
from compressor.runtimes.torch import TorchEager
from compressor.tasks._contract import Task

_TRIED = ("imagenet", "half", "data", "none")
_MOST_SAMPLES = 1000
_SHUFFLES, _ROUNDING = 30, 1e-9


def settle(loaded: Loaded, settings: ModelSettings, *, dataset: Dataset, task: Task) -> tuple[Decision, ...]:
    """Give `loaded.network` its input normalisation, and say why that one when nobody stated it.

    What a network that is trained here gives for numbers is brought to the unit of the training targets, so that it begins
    near them and no step depends on the unit.

    Raises:
        ModelError: The stated one does not fit the data's channels.
    """
    decisions = _settle_inputs(loaded, settings, dataset=dataset, task=task)
    if not dataset.of_numbers or loaded.trained:
        return decisions
    mean_K, std_K = (tuple(map(float, each)) for each in dataset.target_statistics)
    scale = (mean_K, tuple(each or 1.0 for each in std_K))
    loaded.network.set_normalisation(replace(loaded.network.normalisation, outputs=scale))
    told = "; ".join(
        f"{name} × {std:.4g} + {mean:.4g}" for name, mean, std in zip(dataset.classes, *scale, strict=True)
    )
    why = "mean and deviation of the training targets, since the network is trained here"
    return (*decisions, Decision("scale of the outputs", told, why))


def _settle_inputs(loaded: Loaded, settings: ModelSettings, *, dataset: Dataset, task: Task) -> tuple[Decision, ...]:
    wanted = settings.normalise
    if not dataset.fixed_shape or dataset.inputs.only is None or dataset.inputs.only.dtype == "int64":
        return _settle_none(loaded, wanted, dataset)
    channels = dataset.fixed_shape[0]
    statistics = channel_statistics(dataset.train)
    if not isinstance(wanted, str):
        loaded.network.set_normalisation(normalisation.stated(wanted[0], wanted[1], channels=channels))
        return ()
    if wanted != "auto":
        loaded.network.set_normalisation(normalisation.named(wanted, channels=channels, statistics=statistics))
        return ()
    if loaded.network.normalisation.mean:
        return (_decided(loaded.network.normalisation, "it came with the artifact"),)
    if loaded.trained and loaded.pretrained is not None and len(loaded.pretrained.mean) == channels:
        loaded.network.set_normalisation(loaded.pretrained)
        return (_decided(loaded.pretrained, "the network's source states it"),)
    if loaded.trained:
        return (_measured(loaded, dataset=dataset, task=task, statistics=statistics),)
    chosen = normalisation.named("data", channels=channels, statistics=statistics)
    loaded.network.set_normalisation(chosen)
    return (_decided(chosen, "the statistics of the training set, since the network is trained here"),)


def _settle_none(loaded: Loaded, wanted: str | Sequence[Sequence[float]], dataset: Dataset) -> tuple[Decision, ...]:
    """Inputs that are no numbers of one fixed shape go to the network as they are."""
    if wanted not in ("auto", "none"):
        told = f"inputs are {dataset.inputs}, which no mean and deviation is subtracted from"
        raise ModelError(told, where="normalise", hint="leave it out")
    loaded.network.set_normalisation(Normalisation("none", (), ()))
    return ()


def _measured(
    loaded: Loaded, *, dataset: Dataset, task: Task, statistics: tuple[tuple[float, ...], tuple[float, ...]]
) -> Decision:
    judged = dataset.train if dataset.train.labelled.any() or dataset.val is None else dataset.val
    samples = judged_on(labelled(judged, what_for="measuring the normalisation", where=loaded.origin))

    def answers(tried: Normalisation) -> NDArray[Any]:
        loaded.network.set_normalisation(tried)
        return predict(TorchEager.from_network(loaded.network), samples)

    def score(answers_NK: NDArray[Any], labels_N: NDArray[Any]) -> tuple[float, float]:
        metrics = task.metrics(answers_NK, labels_N)
        return metrics[task.primary], -metrics.get("loss", 0.0)

    chosen, why = most_accurate(
        answers,
        score,
        samples=samples,
        labels=task.labels(all_targets(samples)),
        statistics=statistics,
        metric=task.primary,
        what="network",
        where=loaded.origin,
    )
    loaded.network.set_normalisation(chosen)
    return why


def judged_on(samples: Samples) -> Samples:
    """Samples spread evenly over a set, few enough to try several normalisations on."""
    spaced = np.linspace(0, len(samples) - 1, min(_MOST_SAMPLES, len(samples))).astype(np.int64)
    return SubsetSamples(samples, np.unique(spaced))


def most_accurate(
    answers: Callable[[Normalisation], NDArray[Any]],
    score: Callable[[NDArray[Any], NDArray[Any]], tuple[float, float]],
    *,
    samples: Samples,
    labels: NDArray[Any],
    statistics: tuple[Sequence[float], Sequence[float]],
    metric: str,
    what: str,
    where: str,
    order: Sequence[str] = _TRIED,
) -> tuple[Normalisation, Decision]:
    """Of the common normalisations the one under which a trained model knows most.

    A model knows something when its answers fit their own labels better than the same labels in another order, whatever
    the share of the most frequent class.

    Args:
        answers: From a normalisation to what the model answers to `samples` with it.
        score: From answers and labels to how well they fit: a metric in 0–1, and what decides among equals.
        samples: What it is judged on.
        labels: Of these, as the task judges by them.
        statistics: Mean and standard deviation of the training data, for `data`.
        metric: What `score` measures.
        what: What the model is, for the error text.
        where: Where it is from.
        order: What is tried; among those that are still equal the first is taken.

    Raises:
        ModelError: It knows nothing under any of them.
    """
    only = samples.inputs.only
    assert only is not None, "one input"
    shape = only.at({})
    names = [name for name in order if name != "imagenet" or shape[0] == 3] if len(shape) == 3 else ["none", "data"]
    tried = {name: normalisation.named(name, channels=shape[0], statistics=statistics) for name in names}
    given = {name: answers(each) for name, each in tried.items()}
    if all(np.isnan(each).all() for each in given.values()):
        raise ModelError(f"the {what} answers NaN to everything: its weights hold NaN or infinity", where=where)
    ranks = {name: score(each, labels) for name, each in given.items()}
    best = max(ranks, key=lambda name: ranks[name])
    scores = {name: metric_value for name, (metric_value, _) in ranks.items()}
    told = ", ".join(f"{name} {100 * scores[name]:.1f} %" for name in names)
    generator = np.random.default_rng(0)
    shuffled = [score(given[best], generator.permutation(labels))[0] for _ in range(_SHUFFLES)]
    chance = float(np.mean(shuffled))
    if scores[best] <= chance + max(3 * float(np.std(shuffled)), _ROUNDING):
        raise ModelError(
            f"the {what} knows next to nothing of this data under any common normalisation ({told}; "
            f"with the labels shuffled {best} gives {100 * chance:.1f} %)",
            where=where,
            hint="are the classes the same and in the same order? else state it: normalise = [means, stds]",
        )
    return tried[best], _decided(tried[best], f"{metric} on {len(samples)} samples: {told}")


def _decided(chosen: Normalisation, reason: str) -> Decision:
    return Decision("normalisation", str(chosen), reason)

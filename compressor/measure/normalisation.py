"""Which input normalisation a network gets: stated, brought along, taken from the data, or found by measuring.

A checkpoint does not say what its pixels were normalised with, and the wrong guess costs points silently. So for a trained
network without a word about it, the common ones are tried on training samples and the most accurate is taken. Where several
cannot be told apart by that, more samples decide, then what its first BatchNorm was trained on, then the loss; that several
fit is said.

Shape letters: N samples, K classes, F features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from compressor.artifact import Decision
from compressor.data.loader import in_torch
from compressor.data.samples import Dataset, JoinedSamples, Samples, SubsetSamples, all_targets
from compressor.data.statistics import channel_statistics
from compressor.data.unlabelled import labelled
from compressor.errors import MeasurementError, ModelError
from compressor.inputs._contract import kind_of, only_kind
from compressor.measure import first_norm, look_ups
from compressor.measure.accuracy import one_input, predict
from compressor.measure.look_ups import Statistics
from compressor.measure.statistics import paired_difference, resampled_difference
from compressor.measure.steadiness import answering
from compressor.models import normalisation
from compressor.models.build import Loaded
from compressor.models.normalisation import Normalisation
from compressor.recipe import ModelSettings
from compressor.runtimes.torch import TorchEager
from compressor.scores import RIGHT, Metric
from compressor.tasks._contract import SummedTask, Task
from compressor.tensors import LABEL, LOGITS, VALUES

Targets = Mapping[str, NDArray[Any]]
"""What is known of samples, by name, each `[N, ...]`."""

_MOST_SAMPLES = 1000
_MOST_NUMBERS = 10**7  # that are held of the outputs of a task that tells something of each pixel,
_FEWEST_MAPS = 8  # but of so many samples at least
_SHUFFLES, _ROUNDING = 30, 1e-9
_LOOKED_AT = 256  # rows in which the columns that a network looks up are found
_SIGNIFICANT = 0.05  # two-sided
_SIGMAS = 2.0
_FEWEST_FOR_LOSS = 30
_LOSS_THAT_COUNTS = 1e-3  # nats
_SURE_OF_ALL = (
    0.01  # nats: of a model with a smaller loss at its best scale nothing but its sureness is left to compare
)
_NEAR, _TIMES_NEARER = 0.5, 2.0  # of the distance from what the first BatchNorm was trained on
_SCALES = 2.0 ** np.arange(
    -4.0, 4.5, 0.5
)  # of the logits, among which each is given its best before losses are compared
_HOW_TO_STATE = 'normalise = "none" (or "data", "half", "imagenet", [means, stds]) in [teacher] or [student]'


@dataclass(frozen=True)
class Judged:
    """What answers are worth under one normalisation.

    Attributes:
        metric: The task's primary metric.
        right: Whether each decision is right, `[N]`; None where a sample is not right or wrong as a whole.
        losses: Of each sample, `[N]`.
        scaled: The same for logits that are so many times as large; None where answers are no logits.
        summed: What is summed of each sample, `[N, S]`, and the metric of such sums, where nothing is right as a whole.
    """

    metric: float
    right: NDArray[np.bool_] | None
    losses: NDArray[np.float64]
    scaled: Callable[[float], NDArray[np.float64]] | None = None
    summed: tuple[NDArray[np.float64], Callable[[NDArray[np.float64]], NDArray[np.float64]]] | None = None

    def is_like(self, other: Judged) -> bool:
        """Whether a paired test does not tell the two apart."""
        if self.right is not None and other.right is not None:
            return paired_difference(self.right, other.right).p_value >= _SIGNIFICANT
        if self.summed is None or other.summed is None:
            return True
        return resampled_difference(self.summed[0], other.summed[0], self.summed[1]).p_value >= _SIGNIFICANT


def settle(loaded: Loaded, settings: ModelSettings, *, dataset: Dataset, task: Task) -> tuple[Decision, ...]:
    """Give `loaded.network` its input normalisation, and say why that one when nobody stated it.

    What a network that is trained here gives for numbers is brought to the unit of the training targets, so that it begins
    near them and no step depends on the unit.

    Raises:
        ModelError: The stated one does not fit the data's channels.
    """
    decisions = _settle_inputs(loaded, settings, dataset=dataset, task=task)
    if VALUES not in dataset.targets or loaded.trained:
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
    only = dataset.inputs.only
    if only is None or not dataset.fixed_shape or not kind_of(only).normalizations(only):
        return _settle_none(loaded, wanted, dataset)
    channels = dataset.fixed_shape[0]
    statistics, why_columns = _statistics(loaded, dataset)
    if not isinstance(wanted, str):
        _give(loaded, normalisation.stated(wanted[0], wanted[1], channels=channels))
        return ()
    if wanted != "auto":
        _give(loaded, normalisation.named(wanted, channels=channels, statistics=statistics))
        return why_columns if wanted == "data" else ()
    if loaded.network.normalisation.mean:
        return (_decided(loaded.network.normalisation, "it came with the artifact"),)
    if loaded.trained and loaded.pretrained is not None and len(loaded.pretrained.mean) == channels:
        _give(loaded, loaded.pretrained)
        return (_decided(loaded.pretrained, "the network's source states it"),)
    if loaded.trained:
        found = _measured(loaded, dataset=dataset, task=task, statistics=statistics)
        return (found, *(why_columns if loaded.network.normalisation.name == "data" else ()))
    chosen = normalisation.named("data", channels=channels, statistics=statistics)
    _give(loaded, chosen)
    reason = "the statistics of the training set, since the network is trained here"
    return (_decided(chosen, reason), *why_columns)


def _settle_none(loaded: Loaded, wanted: str | Sequence[Sequence[float]], dataset: Dataset) -> tuple[Decision, ...]:
    """Inputs that are no numbers of one fixed shape go to the network as they are."""
    if wanted not in ("auto", "none"):
        told = f"inputs are {dataset.inputs}, which no mean and deviation is subtracted from"
        raise ModelError(told, where="normalise", hint="leave it out")
    _give(loaded, Normalisation("none", (), ()))
    return ()


def _give(loaded: Loaded, chosen: Normalisation) -> None:
    """Another input normalisation; what the network ends in stays known."""
    ending = loaded.network.normalisation.probabilities
    loaded.network.set_normalisation(replace(chosen, probabilities=ending))


def _statistics(loaded: Loaded, dataset: Dataset) -> tuple[Statistics, tuple[Decision, ...]]:
    """Mean and deviation of the training data, without those columns of a table whose numbers the network looks up."""
    statistics = channel_statistics(dataset.train)
    if not only_kind(dataset.inputs).of_columns or loaded.network.normalisation.mean:
        return statistics, ()
    spaced = np.unique(np.linspace(0, len(dataset.train) - 1, min(_LOOKED_AT, len(dataset.train))).astype(np.int64))
    inputs_NF = one_input(dataset.train.fetch(spaced)).astype(np.float32)
    columns = look_ups.embedded_columns(loaded.network, inputs_NF)
    reason = "the network looks these up in an embedding, so they are numbers of categories and not normalised"
    if not columns and not _runs(loaded, statistics, inputs_NF) and _runs(loaded, None, inputs_NF):
        columns = look_ups.whole_columns(inputs_NF)
        reason = "the network does not run when they are normalised, and they hold whole numbers alone"
    if not columns:
        return statistics, ()
    told = ", ".join(map(str, columns))
    return look_ups.without(columns, statistics), (Decision(look_ups.LEFT_ALONE, told, reason),)


def _runs(loaded: Loaded, statistics: Statistics | None, inputs_NF: NDArray[np.float32]) -> bool:
    """Whether a network runs on rows that are normalised by these statistics, or as they are."""
    rows_NF = inputs_NF
    if statistics is not None:
        mean_F, std_F = (np.asarray(part, np.float32) for part in statistics)
        rows_NF = (inputs_NF - mean_F) / std_F
    try:
        answering(loaded.network)({"features": rows_NF})
    except MeasurementError:
        return False
    return True


def _measured(loaded: Loaded, *, dataset: Dataset, task: Task, statistics: Statistics) -> Decision:
    judged = dataset.train if dataset.train.labelled.any() or dataset.val is None else dataset.val
    with_labels = labelled(judged, what_for="measuring the normalisation", where=loaded.origin)

    def answers(tried: Normalisation, samples: Samples) -> NDArray[Any]:
        _give(loaded, tried)
        return predict(TorchEager.from_network(loaded.network), samples)[LOGITS]

    most = _as_many_as_fit(task, dataset)
    samples = judged_on(with_labels, most=most)
    some = samples.fetch(np.arange(0, len(samples), -(-len(samples) // _LOOKED_AT), dtype=np.int64))

    def far(tried: Normalisation) -> float | None:
        _give(loaded, tried)
        return first_norm.distance(loaded.network, some)

    chosen, why = most_accurate(
        answers,
        lambda answers_NK, targets: judge(task, answers_NK, targets),
        samples=samples,
        far=far,
        more=more_to_judge_on(with_labels, dataset.val if judged is dataset.train else None, most=most),
        statistics=statistics,
        metric=task.metric(task.primary),
        what="network",
        where=loaded.origin,
    )
    _give(loaded, chosen)
    return why


def judge(task: Task, answers_NK: NDArray[Any], targets: Targets) -> Judged:
    """What answers are worth to a task."""
    findings, wanted = task.findings({LOGITS: answers_NK}, targets), in_torch(targets)

    def losses(scale: float = 1.0) -> NDArray[np.float64]:
        outputs = {LOGITS: torch.from_numpy(answers_NK.astype(np.float64) * scale)}
        found: NDArray[np.float64] = task.hard_losses(outputs, wanted).numpy().astype(np.float64)
        return found

    return Judged(
        task.metrics(findings)[task.primary],
        findings.get(RIGHT),
        losses(),
        scaled=None if "rows:values" in task.gives else losses,
        summed=(task.statistics(findings), task.of_sums) if isinstance(task, SummedTask) else None,
    )


def judge_classes(logits_NK: NDArray[Any], targets: Targets) -> Judged:
    """What answers are worth where each sample has one class: the share of right ones, and the likelihood of the labels."""
    labels_N = targets[LABEL]

    def losses(scale: float = 1.0) -> NDArray[np.float64]:
        shifted_NK = scale * (logits_NK.astype(np.float64) - logits_NK.max(axis=1, keepdims=True))
        log_N = np.log(np.exp(shifted_NK).sum(axis=1))
        found: NDArray[np.float64] = log_N - np.take_along_axis(shifted_NK, labels_N[:, None], axis=1)[:, 0]
        return found

    right = logits_NK.argmax(axis=1) == labels_N
    return Judged(float(right.mean()), right, losses(), scaled=losses)


def _as_many_as_fit(task: Task, dataset: Dataset) -> int:
    """Samples of which the outputs are held at once: a thousand rows of classes, and a few maps of them."""
    outputs = task.outputs(dataset.classes, dataset.inputs)
    if all(len(spec.shape) < 2 for spec in outputs):
        return _MOST_SAMPLES
    of_each = sum(math.prod(spec.at(dict.fromkeys(outputs.varying, 1))) for spec in outputs)
    return max(_FEWEST_MAPS, min(_MOST_SAMPLES, _MOST_NUMBERS // of_each))


def judged_on(samples: Samples, *, most: int = _MOST_SAMPLES) -> Samples:
    """Samples spread evenly over a set, few enough to try several normalisations on."""
    spaced = np.linspace(0, len(samples) - 1, min(most, len(samples))).astype(np.int64)
    return SubsetSamples(samples, np.unique(spaced))


def more_to_judge_on(samples: Samples, val: Samples | None, *, most: int = _MOST_SAMPLES) -> Samples | None:
    """Samples for what `judged_on` leaves open: others of the same set, and of validation, which no network has learned."""
    spaced = np.linspace(0, len(samples) - 1, min(most, len(samples))).astype(np.int64)
    others = np.setdiff1d(np.arange(len(samples), dtype=np.int64), spaced)
    rest = SubsetSamples(samples, others) if len(others) else None
    if val is None or not len(val):
        return None if rest is None else judged_on(rest, most=most)
    new = judged_on(val, most=most)
    return new if rest is None else JoinedSamples(judged_on(rest, most=most), new)


def most_accurate(
    answers: Callable[[Normalisation, Samples], NDArray[Any]],
    judge_: Callable[[NDArray[Any], Targets], Judged],
    *,
    samples: Samples,
    more: Samples | None,
    statistics: Statistics,
    metric: Metric,
    what: str,
    where: str,
    carries_its_own: bool = False,
    far: Callable[[Normalisation], float | None] = lambda _: None,
) -> tuple[Normalisation, Decision]:
    """Of the common normalisations the one under which a trained model knows most.

    A model knows something when its answers fit their own labels better than the same labels in another order, whatever
    the share of the most frequent class. One under which it does not run is left out.

    Among those that a paired test does not tell from the best, also on more samples, the one decides that is like what the
    model was trained on; else the loss, each with the scale of logits that suits it: what knows little would otherwise be
    judged by how unsure it is of it. Of a model that knows all there is nothing but how sure it is. Where the loss tells
    nothing either, inputs stay as they are if that is one of them, else the first is taken.

    Args:
        answers: From a normalisation and samples to what the model answers to them.
        judge_: From answers and targets to what they are worth.
        samples: What it is judged on; labelled.
        more: What it is judged on in addition where these do not decide; labelled.
        statistics: Mean and standard deviation of the training data, for `data`.
        metric: What `judge_` measures.
        what: What the model is, for the error text.
        where: Where it is from.
        carries_its_own: Whether models of this form mostly normalize their inputs themselves, so that this is tried first.
        far: How far inputs so normalised are from those of training, 0 for none; None where that is not known.

    Raises:
        ModelError: It knows nothing under any of them, or does not run under any.
    """
    only = samples.inputs.only
    assert only is not None, "one input"
    names = kind_of(only).normalizations(only)
    if carries_its_own:
        names = tuple(sorted(names, key=lambda name: name != "none"))
    tried = {name: normalisation.named(name, channels=only.at({})[0], statistics=statistics) for name in names}
    given, faults = _answers(tried, answers, samples)
    if not given:
        raise ModelError(
            f"the {what} does not run under any common normalisation: {next(iter(faults.values()))}",
            where=where,
            hint=f"what does it take? state it: {_HOW_TO_STATE}",
        )
    if all(np.isnan(each).all() for each in given.values()):
        raise ModelError(f"the {what} answers NaN to everything: its weights hold NaN or infinity", where=where)
    targets = all_targets(samples)
    found = {name: judge_(each, targets) for name, each in given.items()}
    best = max(found, key=lambda name: (metric.gain(found[name].metric), -_mean(found[name].losses)))
    told = _told(found, faults, metric)
    generator = np.random.default_rng(0)
    shuffled = [
        judge_(given[best], _in_order(targets, generator.permutation(len(samples)))).metric for _ in range(_SHUFFLES)
    ]
    chance = float(np.mean(shuffled))
    if metric.gain(found[best].metric) <= metric.gain(chance) + max(3 * float(np.std(shuffled)), _ROUNDING):
        raise ModelError(
            f"the {what} knows next to nothing of this data under any common normalisation ({told}; "
            f"with the labels shuffled {best} gives {_shown(metric, chance)})",
            where=where,
            hint=f"are the classes the same and in the same order? else state it: {_HOW_TO_STATE}",
        )
    count, alike = len(samples), _alike(found, best)
    if len(alike) > 1 and more is not None:
        theirs = all_targets(more)
        targets = {name: np.concatenate([mine, theirs[name]]) for name, mine in targets.items()}
        found = {name: judge_(np.concatenate([given[name], answers(tried[name], more)]), targets) for name in alike}
        count = len(samples) + len(more)
        told = f"{told}; on {count} samples: {_told(found, {}, metric)}"
        best = max(found, key=lambda name: (metric.gain(found[name].metric), -_mean(found[name].losses)))
        alike = _alike(found, best)
    reason = f"{metric.name} on {len(samples)} samples: {told}"
    if len(alike) == 1:
        return tried[best], _decided(tried[best], reason)
    several = f"{', '.join(alike)} cannot be told apart by {metric.name}"
    other = "state another with normalise = ..."
    nearest = _nearest({name: far(tried[name]) for name in alike})
    if nearest is not None:
        why = f"{several}; what the first BatchNorm was trained on is like {nearest}"
        return tried[nearest], _decided(tried[nearest], f"{reason}; {why}")
    by_loss = _least_loss({name: found[name] for name in alike})
    if by_loss is not None:
        losses = ", ".join(f"{name} {_mean(found[name].losses):.3g}" for name in alike)
        why = f"{several}, and {by_loss} has the least loss ({losses}); {other}"
        return tried[by_loss], _decided(tried[by_loss], f"{reason}; {why}")
    default = "none" if "none" in alike else alike[0]
    why = f"{several} or loss on {count} samples, so {default} is taken; {other}"
    return tried[default], _decided(tried[default], f"{reason}; {why}")


def _answers(
    tried: dict[str, Normalisation], answers: Callable[[Normalisation, Samples], NDArray[Any]], samples: Samples
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Answers under each normalisation, and what went wrong under those under which the model does not run.

    A table whose whole numbers cannot be normalised may be one with numbers of categories: `data` then leaves them alone.
    """
    given: dict[str, NDArray[Any]] = {}
    faults: dict[str, str] = {}
    for name in tuple(tried):
        try:
            given[name] = answers(tried[name], samples)
        except MeasurementError as fault:
            faults[name] = fault.message
    only = samples.inputs.only
    if "data" in faults and "none" in given and only is not None and kind_of(only).of_columns:
        spaced = np.arange(min(_LOOKED_AT, len(samples)), dtype=np.int64)
        columns = look_ups.whole_columns(one_input(samples.fetch(spaced)).astype(np.float32))
        if columns:
            mean, std = look_ups.without(columns, (tried["data"].mean, tried["data"].std))
            tried["data"] = Normalisation("data", mean, std)
            try:
                given["data"] = answers(tried["data"], samples)
                del faults["data"]
            except MeasurementError as fault:
                faults["data"] = fault.message
    return {name: given[name] for name in tried if name in given}, faults


def _in_order(targets: Targets, order_N: NDArray[np.int64]) -> Targets:
    return {name: array[order_N] for name, array in targets.items()}


def _told(found: Mapping[str, Judged], faults: Mapping[str, str], metric: Metric) -> str:
    parts = [f"{name} {_shown(metric, each.metric)}" for name, each in found.items()]
    return ", ".join([*parts, *(f"{name} does not run ({fault})" for name, fault in faults.items())])


def _shown(metric: Metric, value: float) -> str:
    return f"{100 * value:.1f} %" if metric.is_share else metric.shown(value)


def _alike(found: Mapping[str, Judged], best: str) -> list[str]:
    """The best, and those that a paired test does not tell from it; in the order in which they are tried."""
    return [name for name, each in found.items() if name == best or found[best].is_like(each)]


def _nearest(distances: Mapping[str, float | None]) -> str | None:
    """The one whose inputs are like those of training where those of the others are not; None where there is none."""
    known = {name: each for name, each in distances.items() if each is not None}
    if len(known) < len(distances):
        return None
    nearest, second = sorted(known, key=lambda name: known[name])[:2]
    clear = known[nearest] < _NEAR and known[second] > _TIMES_NEARER * known[nearest]
    return nearest if clear else None


def _least_loss(found: Mapping[str, Judged]) -> str | None:
    """The one whose losses are below those of each other beyond chance; None where there is none.

    Each is given the scale of logits that suits it; where all are sure of everything then, they are compared as they are.
    """
    losses = {name: _at_best_scale(each) for name, each in found.items()}
    least = 0.0 if max(map(_mean, losses.values())) < _SURE_OF_ALL else _LOSS_THAT_COUNTS
    if not least:
        losses = {name: each.losses for name, each in found.items()}
    best = min(losses, key=lambda name: _mean(losses[name]))
    for name, losses_N in losses.items():
        if name == best:
            continue
        more_N = losses_N - losses[best]
        if len(more_N) < _FEWEST_FOR_LOSS or not np.isfinite(more_N).all() or _mean(more_N) < least:
            return None
        if _mean(more_N) <= _SIGMAS * float(more_N.std()) / len(more_N) ** 0.5:
            return None
    return best


def _at_best_scale(judged: Judged) -> NDArray[np.float64]:
    if judged.scaled is None:
        return judged.losses
    return min((judged.scaled(float(scale)) for scale in _SCALES), key=_mean)


def _mean(losses: NDArray[np.float64]) -> float:
    return float(np.nan_to_num(losses.mean(), nan=np.inf))


def _decided(chosen: Normalisation, reason: str) -> Decision:
    return Decision("normalisation", str(chosen), reason)

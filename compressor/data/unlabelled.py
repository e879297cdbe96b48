"""Samples without labels beside those that have some: from a second source, or with labels that are hidden.

Validation and test samples always have targets.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compressor import registry
from compressor.artifact import Decision
from compressor.data import source as sources
from compressor.data.relabel import WithoutTargets
from compressor.data.samples import Dataset, JoinedSamples, Samples, Splits, SubsetSamples
from compressor.errors import DataError
from compressor.recipe import DataSettings, split_source
from compressor.tensors import Schema

_AS_LARGE = "image_size"


def append(train: Samples, settings: DataSettings) -> tuple[Samples, Splits, tuple[Decision, ...]]:
    """The training samples, and behind them those of `data.unlabelled`, without labels.

    Returns:
        All of them, what was read, and what was chosen.

    Raises:
        DataError: The source cannot be read, or its samples have another shape.
    """
    assert settings.unlabelled is not None
    options, chosen = _options(settings, train.inputs)
    read = sources.read(settings.unlabelled, options, where="data.unlabelled_options")
    others = read.train
    if [(each.name, each.shape) for each in others.inputs] != [(each.name, each.shape) for each in train.inputs]:
        takes_size = _AS_LARGE in _takes(settings.unlabelled)
        raise DataError(
            f"samples are {others.inputs}, training samples {train.inputs}",
            where=settings.unlabelled,
            hint=f"data.unlabelled_options.{_AS_LARGE} brings them to a size" if takes_size else "give some like them",
        )
    decisions = [*chosen, *(replace(each, what=_of_unlabelled(each.what)) for each in read.decisions)]
    decisions.append(
        Decision(
            "unlabelled samples", f"{len(others)} beside {len(train)}", f"data.unlabelled is {settings.unlabelled}"
        )
    )
    num_labelled = int(others.labelled.sum())
    if num_labelled:
        reason = "data.unlabelled names samples that teach without labels"
        decisions.append(Decision(f"labels of {settings.unlabelled}", f"{num_labelled} are ignored", reason))
    aside = sum(len(each) for each in (read.val, read.test) if each is not None)
    if aside:
        reason = "training samples alone are taken, since the rest may be what somebody judges by"
        decisions.append(Decision(f"val and test of {settings.unlabelled}", f"{aside} are left out", reason))
    return JoinedSamples(train, without_labels(others)), read, tuple(decisions)


def without_labels(samples: Samples) -> Samples:
    """The same samples, with every label hidden."""
    return WithoutTargets(samples)


def labelled(samples: Samples, *, what_for: str, where: str) -> Samples:
    """Those that have a label; the very same set where all have.

    Raises:
        DataError: None has.
    """
    positions = np.flatnonzero(samples.labelled)
    if not len(positions):
        raise DataError(f"no training sample has a label, which {what_for} needs", where=where)
    return samples if len(positions) == len(samples) else SubsetSamples(samples, positions)


def for_labels_alone(dataset: Dataset, *, as_many_steps: bool) -> tuple[Dataset, tuple[Decision, ...]]:
    """What a network is trained on that learns from labels alone; the very same set where every sample has one.

    Args:
        dataset: Perhaps with samples that have no label.
        as_many_steps: Whether those that have one are repeated, so that an epoch has as many steps as it has for a student
            who learns from all (a control has the student's budget).

    Raises:
        DataError: No training sample has a label.
    """
    few = labelled(dataset.train, what_for="a network that nobody teaches", where=dataset.source)
    if few is dataset.train:
        return dataset, ()
    count, whole = len(few), len(dataset.train)
    told = f"the {count} of {whole} that have a label"
    reason = "nobody teaches, so the others have nothing to say"
    if as_many_steps:
        few = SubsetSamples(few, np.resize(np.arange(count, dtype=np.int64), whole))
        told += f", {whole / count:.3g} times in an epoch"
        reason += "; an epoch has as many steps as the student's"
    return replace(dataset, train=few), (Decision("training samples", told, reason),)


def _of_unlabelled(what: str) -> str:
    return what.replace("data.options", "data.unlabelled_options", 1)


def _options(settings: DataSettings, inputs: Schema) -> tuple[dict[str, object], tuple[Decision, ...]]:
    """What is stated; without labels where the format can be told so, and in the size of the training images."""
    assert settings.unlabelled is not None
    options = dict(settings.unlabelled_options)
    takes = _takes(settings.unlabelled)
    if "labels" in takes:
        options.setdefault("labels", False)
    if _AS_LARGE in takes and _AS_LARGE not in options and inputs.only and len(inputs.only.shape) == 3:
        options[_AS_LARGE] = side = inputs.only.shape[-1]
        reason = "the training images have this size"
        return options, (Decision(f"data.unlabelled_options.{_AS_LARGE}", str(side), reason),)
    return options, ()


def _takes(source: str) -> set[str]:
    return {option.name for option in registry.find("formats", split_source(source)[0]).options}

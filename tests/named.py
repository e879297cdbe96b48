"""Named tensors as most tests want them: samples of one input with one class each, and batches of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.data.arrays import input_name
from compressor.data.loader import LoadedBatch
from compressor.data.samples import ArraySamples, Samples, class_groups
from compressor.tensors import LABEL, LOGITS, MEMBERS, VALUES, Batch, Mixed, Schema, TensorSpec


def class_samples(inputs: NDArray[Any], labels: NDArray[Any]) -> ArraySamples:
    """Samples of one input with one class each; below 0 a sample has none."""
    return ArraySamples({input_name(inputs): inputs}, labels)


def inputs_of(samples: Samples, positions: NDArray[np.int64]) -> NDArray[Any]:
    """The one input of the samples at `positions`."""
    (array,) = samples.fetch(positions).values()
    return array


def labels_of(samples: Samples) -> NDArray[np.int64]:
    """The class of each sample, or its set of classes as one number; −1 for one that has none."""
    return class_groups(samples)


def named_batch(
    inputs: Tensor, labels: Tensor, sample_ids: Tensor, view: int, task: Any, mixed: Mixed | None = None
) -> Batch:
    """A batch of one input; labels are class numbers (below 0: none), members `[B, K]` or values `[B, K]`."""
    targets, labelled = targets_of(labels)
    return Batch({input_name(inputs.numpy()): inputs}, targets, labelled, sample_ids, view, task, mixed)


def relabelled(batch: Batch, labels: Tensor) -> Batch:
    """The same batch under other labels."""
    targets, labelled = targets_of(labels)
    return replace(batch, targets=targets, labelled=labelled)


def mixed_with(labels: Tensor, share: Tensor, sample_ids: Tensor | None = None) -> Mixed:
    """Partners with these labels."""
    targets, labelled = targets_of(labels)
    return Mixed(targets, labelled, share, sample_ids)


def targets_of(labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Labels as a task wants them, and which samples have one."""
    if labels.dim() == 1 and not labels.is_floating_point():
        return {LABEL: labels.clamp_min(0)}, labels >= 0
    name = VALUES if labels.is_floating_point() else MEMBERS
    return {name: labels}, torch.ones(len(labels), dtype=torch.bool)


def hard_loss(task: Any, logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of a task with one output against labels alone."""
    loss: Tensor = task.hard_loss({LOGITS: logits}, targets_of(labels)[0])
    return loss


def loaded_batch(
    inputs: Tensor, labels: Tensor, sample_ids: Tensor, partners: LoadedBatch | None = None
) -> LoadedBatch:
    """What the loader gives of samples of one input."""
    targets, labelled = targets_of(labels)
    return LoadedBatch({input_name(inputs.numpy()): inputs}, targets, labelled, sample_ids, partners)


def schema_of(*shape: int, dtype: str = "uint8") -> Schema:
    """The schema of samples of one input of this shape."""
    return Schema.of(TensorSpec("input", dtype, shape))


def shape_of(samples: Samples) -> tuple[int, ...]:
    """The shape of the one input."""
    only = samples.inputs.only
    assert only is not None
    return only.at({})

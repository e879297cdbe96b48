"""Named tensors as most tests want them: samples of one input with one class each, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor import label_sets
from compressor.data.arrays import input_name
from compressor.data.loader import LoadedBatch
from compressor.data.samples import ArraySamples, Samples, class_groups
from compressor.measure.accuracy import evaluate
from compressor.recipe import ViewSettings
from compressor.scores import RIGHT
from compressor.tensors import LABEL, LOGITS, MEMBERS, VALUES, Batch, Mixed, Schema, TensorSpec
from compressor.views._compose import Views, resolve


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


class Judging:
    """A task, asked about whole arrays: outputs `[N, K]`, and labels as class numbers, sets as numbers, or values.

    What it says of them goes through findings, as everywhere.
    """

    def __init__(self, task: Any) -> None:
        self.task = task

    def findings(self, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """What the task keeps."""
        found: dict[str, NDArray[Any]] = self.task.findings(
            {LOGITS: logits_NK}, arrays_of(self.task, labels_N, outputs=logits_NK.shape[-1])
        )
        return found

    def evaluate(self, logits_NK: NDArray[Any], labels_N: NDArray[Any], *, classes: Sequence[str]) -> dict[str, Any]:
        return evaluate(self.task, self.findings(logits_NK, labels_N), classes=classes)

    def metrics(self, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> dict[str, float]:
        found: dict[str, float] = self.task.metrics(self.findings(logits_NK, labels_N))
        return found

    def correct(self, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> NDArray[np.bool_]:
        return self.findings(logits_NK, labels_N)[RIGHT]

    def agreement(self, one_NK: NDArray[Any], other_NK: NDArray[Any]) -> float:
        return float(self.task.alike({LOGITS: one_NK}, {LOGITS: other_NK}).mean())

    def per_class(self, logits_NK: NDArray[Any], labels_N: NDArray[Any], *, num_classes: int) -> Any:
        return self.task.per_class(self.findings(logits_NK, labels_N), num_classes=num_classes)

    def confusion(self, logits_NK: NDArray[Any], labels_N: NDArray[Any], num_classes: int) -> Any:
        return self.task.confusion(self.findings(logits_NK, labels_N), num_classes)

    def reliability(self, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> Any:
        return self.task.reliability(self.findings(logits_NK, labels_N))

    def errors(self, logits_NK: NDArray[Any], labels_N: NDArray[Any]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self.task.errors(self.findings(logits_NK, labels_N))
        return found


def arrays_of(task: Any, labels_N: NDArray[Any], *, outputs: int) -> dict[str, NDArray[Any]]:
    """Labels as the targets that a task is judged by."""
    wanted = task.targets([str(number) for number in range(outputs)])
    if MEMBERS in wanted:
        return {MEMBERS: label_sets.decode(labels_N, outputs)}
    return {LABEL if LABEL in wanted else VALUES: labels_N}


def predicted(model: Any, array: NDArray[Any]) -> NDArray[Any]:
    """The one output of a runtime for the one input of some samples."""
    found: NDArray[Any] = model({"input": array})[LOGITS]
    return found


def views_of(*shape: int, dtype: str = "uint8", **stated: Any) -> Views:
    """Views of images, by default `[3, 64, 64]`: nothing but what is stated."""
    settings = ViewSettings(**{"crop": 0, "flip": False, **stated})
    return resolve(settings, inputs=Schema.of(TensorSpec("image", dtype, shape or (3, 64, 64))))[0]


def seen(views: Views, images: Tensor, sample_ids: Tensor, *, view: int, seed: int) -> Tensor:
    """A view of images by themselves."""
    return views({"image": images}, sample_ids, view=view, seed=seed)["image"]

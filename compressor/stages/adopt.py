"""A trained network from elsewhere becomes an artifact: loaded safely, normalised by measurement, judged on the data.

Or several that are artifacts already become one; or an ONNX file of any framework, which can teach and be measured alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressor import artifact
from compressor.artifact import Artifact, Decision, Target
from compressor.data.samples import Dataset, Samples
from compressor.errors import InputError, ModelError
from compressor.measure import machine
from compressor.measure.accuracy import evaluate, judge
from compressor.models import checkpoint, onnx_copy
from compressor.models.combined import combine as combined
from compressor.models.network import SMALLEST
from compressor.recipe import ModelSettings
from compressor.runtimes._onnx_runtime import model_file
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.tasks._contract import Task
from compressor.teachers.onnx import OnnxFile
from compressor.training.keep import keep
from compressor.training.start import network_for

if TYPE_CHECKING:
    from compressor.measure.accuracy import Predict


def adopt(model: ModelSettings, *, dataset: Dataset, task: Task, target: Target) -> Artifact:
    """Load a trained network, find its input normalisation, measure it, and keep it as it is.

    Raises:
        ModelError: It cannot be loaded, does not fit the data, or has not been trained.
        TrustError: Reading it would run code that has not been trusted.
    """
    started = time.perf_counter()
    loaded, decisions = network_for(model, dataset=dataset, task=task, seed=target.seed, as_it_is=True)
    if not loaded.trained:
        raise ModelError(
            "an architecture without weights has nothing to teach",
            where=model.model,
            hint="train it first ([train] in the recipe, or compress train), or give its checkpoint: --teacher t.pt",
        )
    kept = Decision("weights", loaded.title, f"taken as they are from {loaded.origin}; nothing was trained")
    return keep(
        loaded,
        target=target,
        dataset=dataset,
        task=task,
        decisions=(kept, *decisions, *caveat_of(dataset)),
        details={},
        elapsed_s=time.perf_counter() - started,
    )


def combine(
    members: Sequence[Artifact],
    *,
    kind: str,
    options: Mapping[str, Any],
    dataset: Dataset,
    task: Task,
    target: Target,
) -> Artifact:
    """Keep several networks as one that answers for them, by the rule of a kind of teacher.

    Args:
        members: Artifacts of networks, in the order of the rule.
        kind: A member of `teachers`.
        options: Its options.
        dataset: What it is judged on; its classes are those of the combination.
        task: What outputs mean.
        target: What to leave behind.

    Raises:
        InputError: The rule refuses its options, or the classes of the members.
        TrustError: A member's code has not been trusted.
    """
    started = time.perf_counter()
    loaded = combined(
        [checkpoint.load(member) for member in members],
        kind=kind,
        options=options,
        known=[member.manifest.data["classes"] for member in members],
        classes=dataset.classes,
    )
    kept = Decision("weights", loaded.title, f"{kind} of {loaded.origin}; nothing was trained")
    return keep(
        loaded,
        target=target,
        dataset=dataset,
        task=task,
        decisions=(kept,),
        details={},
        elapsed_s=time.perf_counter() - started,
    )


def caveat_of(dataset: Dataset) -> tuple[Decision, ...]:
    """What a score of a network from elsewhere is worth on test samples that were drawn here."""
    if not any(decision.what == "test split" for decision in dataset.decisions):
        return ()
    reason = (
        "the set has none of its own, so these were drawn from it: a network that was trained on all of it knows them"
    )
    return (Decision("score on test samples", "may be too good", reason),)


def onnx_as_fed(
    model: Path, normalise: str | Sequence[Sequence[float]], *, dataset: Dataset, task: Task
) -> tuple[Predict, tuple[Decision, ...]]:
    """The answers of an ONNX model to samples as the data gives them, and what was found out about its input.

    Args:
        model: A file, or the folder of an artifact.
        normalise: As stated; `auto` asks the model itself, or else tries the common ones, where samples have one class each.
        dataset: What it is tried on.
        task: What its outputs mean.

    Raises:
        ModelError: It cannot be read, or does not fit the data.
        InputError: A normalisation is stated that cannot be applied.
        ArtifactError: An artifact's file is not what was written.
    """
    artifact.require_as_written(model_file(model))
    if "one_class" not in task.gives:
        if normalise not in ("auto", "none"):
            message = "an ONNX model is fed as it is where samples do not have one class each"
            raise InputError(message, where="teacher.normalise", hint="leave it out, or put it into the model")
        runtime = OrtCpu()
        runtime.load(model)
        return runtime, ()
    teacher = OnnxFile(model_file(model), dataset.classes, _tried(dataset), normalise=normalise)
    return teacher.predicted, teacher.decisions


def _tried(dataset: Dataset) -> Samples:
    """The samples that an ONNX model is tried on: training ones, unless validation alone has labels."""
    has_labels = dataset.train.labelled.any()
    return dataset.train if has_labels or dataset.val is None else dataset.val


def adopt_onnx(
    file: Path, *, options: Mapping[str, Any], dataset: Dataset, task: Task, target: Target, judged: bool = True
) -> Artifact:
    """Keep a copy of an ONNX file that says how its input is normalised and gives logits, judged on the data.

    Args:
        file: Of any framework.
        options: Of the kind of teacher `onnx`.
        dataset: What it is tried and judged on.
        task: What outputs mean.
        target: What to leave behind.
        judged: Whether its metrics are taken now; what is about to be measured is judged there.

    Raises:
        ModelError: It cannot be read, or does not fit the data.
        InputError: An unknown option.
        ArtifactError: It lies in an artifact, and is not what was written there.
    """
    started = time.perf_counter()
    artifact.require_as_written(file)
    teacher = OnnxFile(file, dataset.classes, _tried(dataset), **options)
    metrics = {
        split: evaluate(task, judge(task, teacher.predicted, samples), classes=dataset.classes)
        for split, samples in (("val", dataset.val), ("test", dataset.test))
        if samples is not None and judged
    }
    with artifact.folder_for(target.folder) as folder:
        copy = folder / "model.onnx"
        onnx_copy.write_copy(
            file,
            copy,
            normalisation=teacher.normalisation,
            gives_probabilities=teacher.gives_probabilities,
            smallest=SMALLEST,
        )
        dataset.put_files(folder)
        manifest = replace(
            target.manifest("onnx"),
            data=dataset.describe(),
            metrics=metrics,
            details={"title": file.stem, "size_bytes": OrtCpu().file_size(copy)},
            decisions=(
                *dataset.decisions,
                Decision("weights", file.stem, f"taken as they are from {file.name}; nothing was trained"),
                *teacher.decisions,
                *caveat_of(dataset),
            ),
            machine=machine.describe(),
            elapsed_s=time.perf_counter() - started,
        )
        return artifact.seal(folder, target.folder, manifest)

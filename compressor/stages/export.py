"""Export a network to ONNX behind a parity gate: what leaves this stage does what the network does, or nothing leaves it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from compressor import artifact
from compressor.artifact import Artifact, Target
from compressor.data.samples import Dataset, Samples, SubsetSamples
from compressor.errors import MeasurementError, ParityError
from compressor.inputs._contract import kind_of
from compressor.measure import machine, parity, sizes
from compressor.measure.accuracy import evaluate, judge
from compressor.measure.steadiness import differs_alone
from compressor.models import checkpoint, onnx_file
from compressor.models.network import Network
from compressor.recipe import ExportSettings
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.runtimes.torch import TorchEager
from compressor.tasks._contract import Task
from compressor.tensors import LOGITS
from compressor.training.start import require_same_classes

MODEL = "model.onnx"
_KEPT_METADATA = "compress."
_AMONG = 256  # samples in a batch, of which one is asked alone as well
_CHANGED_ALONE = 1e-2  # of the spread: how far another size of batch may move an answer by rounding


def export(source: Artifact, settings: ExportSettings, *, dataset: Dataset, task: Task, target: Target) -> Artifact:
    """Export the network in `source`, compare it with ONNX Runtime's answers on real samples, and keep it if they agree.

    Raises:
        ModelError: The network cannot be exported.
        ParityError: The exported model answers differently; names the worst samples, leaves no artifact.
    """
    started = time.perf_counter()
    require_same_classes(source, dataset, what="network")
    network = checkpoint.load(source).network
    contract = input_contract(settings, network=network, dataset=dataset)
    with artifact.folder_for(target.folder) as folder:
        file = folder / MODEL
        opset, why_opset = onnx_file.write(
            network, file, settings=settings, samples=_two_of(dataset), inputs=dataset.inputs
        )
        _describe(file, contract=contract, source=source, dataset=dataset, task=task)
        report = _gate(network, file, settings=settings, dataset=dataset, task=task, origin=source)
        dataset.put_files(folder)
        manifest = replace(
            target.manifest("onnx"),
            data=dataset.describe(),
            metrics=_scores(file, dataset=dataset, task=task),
            details={
                "parity": asdict(report),
                "input_contract": contract,
                "opset": opset,
                "size_bytes": file.stat().st_size,
                "title": source.manifest.details["network"]["title"],
            },
            decisions=why_opset,
            machine=machine.describe(),
            elapsed_s=time.perf_counter() - started,
        )
        return artifact.seal(folder, target.folder, manifest)


def input_contract(settings: ExportSettings, *, network: Network, dataset: Dataset) -> dict[str, Any]:
    """What the exported model takes: layout, data type, range, shape and normalisation, as it is written into the file."""
    kept = network.normalisation
    normalisation = {
        "baked_in": settings.normalise,
        "name": kept.name,
        "mean": list(kept.mean),
        "std": list(kept.std),
    }
    scaled = "" if settings.normalise else ", then minus mean, over std"
    if dataset.inputs.only is None or dataset.inputs.varying:
        return {
            "layout": "by name",
            "dtype": ", ".join(dict.fromkeys(spec.dtype for spec in dataset.inputs)),
            "range": "as in the data",
            "shape": ["batch", *next(iter(dataset.inputs)).shape],
            "normalisation": normalisation,
            "inputs": dataset.inputs.as_json(),
        }
    told = kind_of(dataset.inputs.only).contract(dataset.inputs.only, scaled=scaled)
    if settings.input == "uint8-nhwc":
        channels, height, width = dataset.fixed_shape
        told |= {"layout": "NHWC", "dtype": "uint8", "range": "0-255", "shape": ["batch", height, width, channels]}
    return {**told, "normalisation": normalisation}


def _two_of(dataset: Dataset) -> dict[str, NDArray[Any]]:
    """Two real samples; of an axis that varies more than one, which an exporter would take for a constant."""
    found = dataset.example(2)
    for spec in dataset.inputs:
        axes = zip(spec.shape, found[spec.name].shape[1:], strict=True)
        beyond = [(0, max(0, 2 - size) if isinstance(axis, str) else 0) for axis, size in axes]
        found[spec.name] = np.pad(found[spec.name], [(0, 0), *beyond])
    return found


def _describe(file: Path, *, contract: dict[str, Any], source: Artifact, dataset: Dataset, task: Task) -> None:
    """Write classes, input contract and provenance into the file."""
    model = onnx.load(file, load_external_data=False)  # weights beside it (above 1.5 GB) stay there
    told = {
        "classes": list(dataset.classes),
        "input": contract,
        "output": {"name": LOGITS, "shape": ["batch", *_shape_of_logits(dataset, task)], "apply": task.applied()},
        "provenance": {"key": source.manifest.key, "stage": source.manifest.stage, "data": dataset.fingerprint},
    }
    for name, value in told.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = _KEPT_METADATA + name, json.dumps(value)
    onnx.save(model, file)


def _shape_of_logits(dataset: Dataset, task: Task) -> tuple[int | str, ...]:
    return task.outputs(dataset.classes, dataset.inputs)[LOGITS].shape


def _gate(
    network: Network, file: Path, *, settings: ExportSettings, dataset: Dataset, task: Task, origin: Artifact
) -> parity.ParityReport:
    """Compare torch with ONNX Runtime on real samples.

    Raises:
        ParityError: Some reason why the one cannot stand for the other.
    """
    samples, name = _gate_samples(dataset, settings.samples)
    reference = TorchEager.from_network(network)
    runtime = OrtCpu()
    try:
        runtime.load(file)
        report = parity.between(reference, runtime, samples, task=task, judged=bool(samples.labelled.all()))
        few = samples.fetch(np.arange(min(_AMONG, len(samples)), dtype=np.int64))
        first = {name: array[:1] for name, array in few.items()}
        single = runtime(first)
        singles = [samples.fetch(np.array([each] * count)) for each in _of_each_size(samples) for count in (1, 2)]
        apart = [_furthest(reference(each), runtime(each), spread=report.spread) for each in singles]
        alone = {"the network": (reference(first), reference(few)), "the exported model": (single, runtime(few))}
    except MeasurementError as fault:
        raise ParityError(f"the exported model does not run: {fault.message}", where=str(origin.path)) from fault
    finally:
        runtime.close()
    failures = report.failures(tolerance=settings.tolerance, min_agreement=settings.min_agreement)
    if any(len(output) != 1 for output in single.values()):
        failures.append("it does not take a batch of one")
    for what, (by_itself, among) in alone.items():
        changed = max(
            differs_alone(output, among[name][:1], spread=report.spread) if len(output) == 1 else 0.0
            for name, output in by_itself.items()
        )
        if changed > max(settings.tolerance, _CHANGED_ALONE):
            failures.append(
                f"{what} answers a sample otherwise when it is alone in its batch (by {changed:.3g} of the spread), so "
                "that its answers depend on the other samples"
            )
    if apart and max(apart) > settings.tolerance:
        number = int(np.argmax(apart))
        shape = ", ".join(str(list(array.shape)) for array in singles[number].values())
        failures.append(f"outputs differ by {max(apart):.3g} of their spread for {shape}")
    if failures:
        worst = ", ".join(f"{position} ({difference:.3g})" for position, difference in report.worst)
        raise ParityError(
            f"the exported model does not answer as the network does: {'; '.join(failures)}; "
            f"worst {name} samples: {worst}; no artifact is left",
            where=str(origin.path),
            hint="does its forward depend on training mode, on random numbers, on the batch or on how it is run?",
        )
    return report


def _of_each_size(samples: Samples) -> list[int]:
    """Positions of the shortest, a usual and the longest sample, where an axis varies; each is run alone and twice."""
    if not samples.inputs.varying:
        return []
    each = [math.prod(found.values()) for found in sizes.of_each(samples, range(len(samples)))]
    order = np.argsort(each, kind="stable")
    return [int(order[0]), int(order[len(order) // 2]), int(order[-1])]


def _furthest(expected: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]], *, spread: float) -> float:
    """The largest difference of an output, as a share of the spread."""
    return max(differs_alone(output, found[name], spread=spread) for name, output in expected.items())


def _gate_samples(dataset: Dataset, wanted: int) -> tuple[Samples, str]:
    """The samples of the gate: from validation, or from training when there is none; never the test set.

    Of training samples those that have a label, where any has: two models can be compared without.
    """
    if dataset.val is not None:
        samples, name = dataset.val, "validation"
    else:
        with_label = np.flatnonzero(dataset.train.labelled)
        some = 0 < len(with_label) < len(dataset.train)
        samples, name = SubsetSamples(dataset.train, with_label) if some else dataset.train, "training"
    spaced = np.linspace(0, len(samples) - 1, min(wanted, len(samples))).astype(np.int64)
    return SubsetSamples(samples, np.unique(spaced)), name


def _scores(file: Path, *, dataset: Dataset, task: Task) -> dict[str, Any]:
    runtime = OrtCpu()
    runtime.load(file)
    try:
        return {"test": evaluate(task, judge(task, runtime, dataset.test), classes=dataset.classes)}
    finally:
        runtime.close()

"""Export a network to ONNX behind a parity gate: what leaves this stage does what the network does, or nothing leaves it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor import artifact
from compressor.artifact import Artifact, Decision, Target
from compressor.data.samples import Dataset, Samples, SubsetSamples
from compressor.errors import FOREIGN_FAULTS, MeasurementError, ModelError, ParityError
from compressor.measure import machine, parity
from compressor.measure.accuracy import evaluate, predict
from compressor.models import checkpoint
from compressor.models.network import Network, logits_of
from compressor.recipe import ExportSettings
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.runtimes.torch import TorchEager
from compressor.tasks._contract import Task
from compressor.training.start import require_same_classes

MODEL = "model.onnx"
_NATIVE_OPSET = 18
_KEPT_METADATA = "compress."


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
    opset, why_opset = _opset(settings)
    with artifact.folder_for(target.folder) as folder:
        file = folder / MODEL
        _write_onnx(_front(network, settings), file, example=_example(dataset, settings), opset=opset)
        _describe(file, contract=contract, source=source, dataset=dataset)
        report = _gate(network, file, settings=settings, dataset=dataset, task=task, origin=source)
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
    if not dataset.is_image:
        shape: list[int | str] = ["batch", *dataset.sample_shape]
        return {
            "layout": "NF",
            "dtype": "float32",
            "range": "as in the data",
            "shape": shape,
            "normalisation": normalisation,
        }
    channels, height, width = dataset.sample_shape
    if settings.input == "uint8-nhwc":
        shape = ["batch", height, width, channels]
        return {"layout": "NHWC", "dtype": "uint8", "range": "0-255", "shape": shape, "normalisation": normalisation}
    return {
        "layout": "NCHW",
        "dtype": "float32",
        "range": "0-1" if settings.normalise else "0-1, then minus mean, over std",
        "shape": ["batch", channels, height, width],
        "normalisation": normalisation,
    }


class _FromCamera(nn.Module):
    """uint8 `[B, H, W, C]`, as cameras and image files give it, to the network's float `[B, C, H, W]` in 0–1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image.permute(0, 3, 1, 2).to(torch.float32) / 255)  # type: ignore[no-any-return]


class _Bare(nn.Module):
    """A network without its normalisation: it takes inputs that are normalised already."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module = network.module

    def forward(self, inputs: Tensor) -> Tensor:
        return logits_of(self.module(inputs))


def _front(network: Network, settings: ExportSettings) -> nn.Module:
    if settings.input == "uint8-nhwc":
        if not settings.normalise:
            raise ModelError(
                "uint8 pixels cannot come normalised",
                where="export",
                hint="leave normalise on, or take input = float-nchw",
            )
        return _FromCamera(network).eval()
    return network if settings.normalise else _Bare(network).eval()


def _example(dataset: Dataset, settings: ExportSettings) -> Tensor:
    pixels = dataset.train.fetch(np.arange(2, dtype=np.int64))
    if settings.input == "uint8-nhwc":
        if pixels.ndim != 4 or pixels.dtype != np.uint8:
            raise ModelError(
                f"input = uint8-nhwc needs 8-bit images; this data is {pixels.dtype} {list(pixels.shape[1:])}",
                where="export.input",
                hint="use input = float-nchw",
            )
        return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, 1, -1)))
    return torch.rand(pixels.shape)


def _opset(settings: ExportSettings) -> tuple[int, tuple[Decision, ...]]:
    if settings.opset != "auto":
        return settings.opset, ()
    reason = "the exporter's own set, so nothing is converted; ONNX Runtime 1.14 (2023) and later run it"
    return _NATIVE_OPSET, (Decision("opset", str(_NATIVE_OPSET), reason),)


def _write_onnx(front: nn.Module, file: Path, *, example: Tensor, opset: int) -> None:
    with _exporter_kept_quiet() as said:
        try:
            torch.onnx.export(
                front,
                (example,),
                file,
                input_names=["input"],
                output_names=["logits"],
                opset_version=opset,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                external_data=False,
                verbose=False,
            )
        except (torch.onnx.errors.OnnxExporterError, *FOREIGN_FAULTS) as fault:
            cause = str(fault.__cause__ or fault).strip().split("\n")[0]
            raise ModelError(
                f"the network cannot be exported: {cause}",
                where="export",
                hint="control flow that depends on the values of tensors, and fixed batch sizes, are the usual causes",
            ) from fault
    model = onnx.load(file)
    found = {entry.domain: entry.version for entry in model.opset_import}.get("", 0)
    if found != opset:
        why = said.getvalue().strip().split("\n")[-1][:200]
        raise ModelError(
            f"the exporter wrote opset {found} where {opset} was asked for: {why}",
            where="export.opset",
            hint=f"use opset = {found}, which this network can be written in",
        )
    dynamic = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    if not dynamic:
        raise ModelError(
            "the network fixes the batch size while it is traced, so the exported model would take no other",
            where="export",
            hint="use x.shape[0] or x.flatten(1) in its forward instead of a number",
        )


@contextmanager
def _exporter_kept_quiet() -> Iterator[io.StringIO]:
    """torch's exporter prints and logs much; what it said is kept for the error."""
    said = io.StringIO()
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield said
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _describe(file: Path, *, contract: dict[str, Any], source: Artifact, dataset: Dataset) -> None:
    """Write classes, input contract and provenance into the file; take out the exporter's notes (paths of this machine)."""
    model = onnx.load(file)
    for holder in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.input,
        *model.graph.output,
        *model.graph.value_info,
    ):
        del holder.metadata_props[:]
    for node in model.graph.node:
        node.ClearField("doc_string")
    for function in model.functions:
        del function.metadata_props[:]
        for node in function.node:
            del node.metadata_props[:]
    told = {
        "classes": list(dataset.classes),
        "input": contract,
        "output": {"name": "logits", "shape": ["batch", len(dataset.classes)], "apply": "softmax for probabilities"},
        "provenance": {"key": source.manifest.key, "stage": source.manifest.stage, "data": dataset.fingerprint},
    }
    for name, value in told.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = _KEPT_METADATA + name, json.dumps(value)
    onnx.save(model, file)


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
        report = parity.compare(
            predict(reference, samples), predict(runtime, samples), task=task, labels=samples.labels
        )
        single = runtime(samples.fetch(np.zeros(1, dtype=np.int64)))
    except MeasurementError as fault:
        raise ParityError(f"the exported model does not run: {fault.message}", where=str(origin.path)) from fault
    finally:
        runtime.close()
    failures = report.failures(tolerance=settings.tolerance, min_agreement=settings.min_agreement)
    if single.shape[0] != 1:
        failures.append("it does not take a batch of one")
    if failures:
        worst = ", ".join(f"{position} ({difference:.3g})" for position, difference in report.worst)
        raise ParityError(
            f"the exported model does not answer as the network does: {'; '.join(failures)}; "
            f"worst {name} samples: {worst}; no artifact is left",
            where=str(origin.path),
            hint="does its forward depend on training mode, on random numbers or on how it is run?",
        )
    return report


def _gate_samples(dataset: Dataset, wanted: int) -> tuple[Samples, str]:
    """The samples of the gate: from validation, or from training when there is none; never the test set."""
    samples, name = (dataset.val, "validation") if dataset.val is not None else (dataset.train, "training")
    spaced = np.linspace(0, len(samples) - 1, min(wanted, len(samples))).astype(np.int64)
    return SubsetSamples(samples, np.unique(spaced)), name


def _scores(file: Path, *, dataset: Dataset, task: Task) -> dict[str, Any]:
    runtime = OrtCpu()
    runtime.load(file)
    try:
        logits_NK: NDArray[np.float32] = predict(runtime, dataset.test)
    finally:
        runtime.close()
    return {"test": evaluate(task, logits_NK, dataset.test.labels, classes=dataset.classes)}

"""Train a network with the rounding it will run with; what comes out is a float ONNX file, made to be rounded."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compressor.artifact import Artifact, Decision, Target
from compressor.data.loader import tried
from compressor.errors import ModelError
from compressor.losses.hard import Hard
from compressor.models import checkpoint, folding, onnx_file
from compressor.quantizers._contract import Cpu
from compressor.quantizers.qat import Qat
from compressor.recipe import ExportSettings, QuantizeSettings
from compressor.teachers.none import NoTeacher
from compressor.training import engine
from compressor.training.material import Material
from compressor.training.produce import job_for
from compressor.training.sources import losses_of, read_features
from compressor.training.teaching import Teaching, teacher_of

_COMPARED = 32


@dataclass(frozen=True)
class Trained:
    """What the training leaves beside its file.

    Attributes:
        curve: One entry for each epoch.
        decisions: Every automatic choice.
        interruptions: How often it was resumed.
    """

    curve: tuple[Mapping[str, Any], ...]
    decisions: tuple[Decision, ...]
    interruptions: int


def train_quantized(
    source: Artifact,
    settings: QuantizeSettings,
    *,
    method: Qat,
    cpu: Cpu,
    export: ExportSettings,
    teacher: Artifact | None,
    material: Material,
    target: Target,
    destination: Path,
) -> Trained:
    """Fold BatchNorm, simulate rounding, train from the teacher, and write the float network to `destination`.

    BatchNorm is folded first, as in the model that will run: a factor of exactly 0 then makes zero weights, where schemes
    that train with BatchNorm unfold by dividing by it.

    Args:
        source: The network to start from.
        settings: Budget and losses.
        method: How rounding is simulated.
        cpu: What it is made for.
        export: The form of the ONNX file.
        teacher: What it learns from; None for the labels alone.
        material: Samples, how they are shown, and what outputs mean.
        target: What is being made.
        destination: Of the ONNX file.

    Raises:
        ModelError: The network has no layer to quantize, or cannot be exported.
        DivergenceError: Training met NaN or exploded.
        InterruptedRunError: Stopped by a signal; the same call goes on.
    """
    loaded = checkpoint.load(source)
    folded, why = folding.fold_batch_norm(loaded.network, tried(material.dataset.example(_COMPARED)))
    network = copy.deepcopy(folded).requires_grad_(True)
    if not method.attach(network, cpu=cpu):
        raise ModelError("has no convolution or fully connected layer to quantize", where=str(source.path))
    losses = (engine.WeightedLoss("hard", 1.0, Hard()),) if teacher is None else losses_of(settings, material.task)
    answers, why_teacher = (
        (NoTeacher(), ())
        if teacher is None
        else teacher_of(
            Teaching(source=teacher),
            settings,
            material=material,
            seed=target.seed,
            reads_features=read_features(losses),
        )
    )
    job, why_views = job_for(
        loaded.with_network(network),
        settings.model_copy(update={"compile": False}),
        teacher=answers,
        losses=losses,
        material=material,
        target=replace(target, role="qat"),
    )
    trained = engine.fit(job)
    method.detach(trained.network)
    onnx_file.write(
        trained.network.eval(),
        destination,
        settings=export,
        samples=material.dataset.example(2),
        inputs=material.dataset.inputs,
    )
    chosen = (
        Decision("BatchNorm folded before training", "no" if folded is loaded.network else "yes", why),
        Decision("compile", "off", "rounding is simulated in hooks, which torch.compile would break the graph at"),
    )
    return Trained(
        trained.curve,
        (*why_views, *why_teacher, *chosen, *trained.decisions),
        trained.interruptions,
    )

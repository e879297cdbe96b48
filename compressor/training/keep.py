"""A network becomes an artifact: judged on validation and test, written, read back, compared, sealed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from compressor import artifact
from compressor.artifact import Artifact, Decision, Target
from compressor.data.loader import tried
from compressor.data.samples import Dataset
from compressor.measure import accuracy, machine, majority
from compressor.models import checkpoint
from compressor.models.build import Loaded
from compressor.runtimes.torch import TorchEager
from compressor.scores import RIGHT
from compressor.tasks._contract import Task
from compressor.training.start import fit_of

_COMPARED = 8


def keep(
    loaded: Loaded,
    *,
    target: Target,
    dataset: Dataset,
    task: Task,
    decisions: tuple[Decision, ...],
    details: Mapping[str, Any],
    elapsed_s: float,
) -> Artifact:
    """Write a finished network as the artifact that `target` asks for.

    Raises:
        ArtifactError: It cannot be written, or does not read back as the same network.
    """
    runtime = TorchEager.from_network(loaded.network)
    metrics, right = {}, {}
    for split, samples in (("val", dataset.val), ("test", dataset.test)):
        if samples is not None:
            findings = accuracy.judge(task, runtime, samples)
            metrics[split] = accuracy.evaluate(task, findings, classes=dataset.classes)
            if RIGHT in findings:
                right[split] = majority.packed(findings[RIGHT])
    some = tried(dataset.example(_COMPARED))
    with artifact.folder_for(target.folder) as folder:
        dataset.put_files(folder)
        network = checkpoint.write(folder, loaded, fit=fit_of(dataset))
        checkpoint.compare_read_back(folder, network, network=loaded.network, inputs=some)
        manifest = replace(
            target.manifest("torch"),
            data=dataset.describe(),
            metrics=metrics,
            details={"network": network, **details, "right": right},  # so that two networks can be paired
            decisions=(*dataset.decisions, *target.decisions, *decisions),
            machine=machine.describe(),
            elapsed_s=elapsed_s,
        )
        return artifact.seal(folder, target.folder, manifest)

"""A trained network from elsewhere becomes an artifact: loaded safely, normalised by measurement, judged on the data."""

from __future__ import annotations

import time

from compressor.artifact import Artifact, Decision, Target
from compressor.data.samples import Dataset
from compressor.errors import ModelError
from compressor.recipe import ModelSettings
from compressor.tasks._contract import Task
from compressor.training.keep import keep
from compressor.training.start import network_for


def adopt(model: ModelSettings, *, dataset: Dataset, task: Task, target: Target) -> Artifact:
    """Load a trained network, find its input normalisation, measure it, and keep it as it is.

    Raises:
        ModelError: It cannot be loaded, does not fit the data, or has not been trained.
        TrustError: Reading it would run code that has not been trusted.
    """
    started = time.perf_counter()
    loaded, decisions = network_for(model, dataset=dataset, task=task, seed=target.seed)
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
        decisions=(kept, *decisions),
        details={},
        elapsed_s=time.perf_counter() - started,
    )

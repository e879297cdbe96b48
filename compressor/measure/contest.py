"""Time ONNX files against one another: each in a process of its own, pinned, warm, alternating."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from compressor.measure import clock, machine
from compressor.measure.clock import Timing
from compressor.measure.isolated import IsolatedModel
from compressor.recipe import ProfileSettings


def time_models(
    models: Mapping[str, Path],
    *,
    profile: ProfileSettings,
    inputs: Path,
    runtime: str = "ort_cpu",
    blocks: int = 10,
    min_seconds: float = 0.5,
    min_samples: int = 50,
) -> dict[str, Timing]:
    """Time `models` under the conditions of `profile`.

    Args:
        models: What the runtime loads, by name.
        profile: Threads and batch.
        inputs: An `.npy` file of real samples.
        runtime: A member of `runtimes`.
        blocks: Rounds; each model gives one block in each, so that blocks of the same number can be paired.
        min_seconds: About how long each model is timed in all.
        min_samples: Fewest timings of each.

    Raises:
        MeasurementError: A model does not run.
    """
    threads = min(profile.threads or machine.usable_cores(), machine.usable_cores())
    cpus = tuple(sorted(os.sched_getaffinity(0)))[:threads] if hasattr(os, "sched_getaffinity") else ()
    with ExitStack() as stack:
        started = {}
        for name, file in models.items():
            model = IsolatedModel(file, runtime=runtime, inputs=inputs, batch=profile.batch, threads=threads, cpus=cpus)
            started[name] = stack.enter_context(model)
        for model in started.values():
            clock.warm_until_steady(model, max_seconds=3.0)
        return clock.time_alternating(started, blocks=blocks, min_seconds=min_seconds, min_samples=min_samples)

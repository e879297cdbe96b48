"""Time models against one another: each in a process of its own, pinned, warm, alternating, and watched for interference."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compressor import registry
from compressor.measure import clock, energy, limits, machine
from compressor.measure.clock import Timing
from compressor.measure.conditions import Conditions
from compressor.measure.interference import Interference, Watch, spread_of
from compressor.measure.isolated import IsolatedModel, Ready
from compressor.runtimes._contract import OperatorTime

_ENERGY_SECONDS = 1.0


@dataclass(frozen=True)
class Entry:
    """A model that takes part.

    Attributes:
        path: What the runtime loads.
        runtime: A member of `runtimes`, or `file.py:attr`.
        options: Of the runtime, beside those that the conditions give.
    """

    path: Path
    runtime: str = "ort_cpu"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """All that is known about one model after a contest.

    Attributes:
        timing: Every latency, by block.
        ready: What it took to load it.
        steady: Whether its warm-up settled.
        spread: How far the medians of its blocks lie apart.
        peak_memory_mb: The most that its process has occupied, libraries included.
        memory_mb: What its process occupies at the end.
        millijoules: Energy of one inference, where the machine counts it.
    """

    timing: Timing
    ready: Ready
    steady: bool
    spread: float
    peak_memory_mb: float
    memory_mb: float
    millijoules: float | None


@dataclass(frozen=True)
class Outcome:
    """A contest: its models by name, what disturbed it, and what counted the energy."""

    models: Mapping[str, Measured]
    interference: Interference
    energy_source: str | None


def hold(
    entries: Mapping[str, Entry],
    *,
    profile: Conditions,
    inputs: Path,
    blocks: int,
    min_seconds: float,
    min_samples: int,
    attempts: int = 1,
    max_warm_seconds: float = 10.0,
) -> Outcome:
    """Time models in turns; a restless set of timings is taken again, and the calmest kept.

    Args:
        entries: Models, by name.
        profile: Run conditions.
        inputs: An `.npy` file of real samples.
        blocks: Rounds; each model gives one block in each, so that blocks of the same number can be paired.
        min_seconds: About how long each model is timed in all.
        min_samples: Fewest timings of each.
        attempts: How often the timing is done at most.
        max_warm_seconds: Longest warm-up of each.

    Raises:
        MeasurementError: A model does not run, or the conditions cannot be had here.
    """
    with _started(entries, profile=profile, inputs=inputs) as models:
        steady = {
            name: clock.warm_until_steady(model, max_seconds=max_warm_seconds).steady for name, model in models.items()
        }
        best: tuple[dict[str, Timing], Interference] | None = None
        for attempt in range(1, attempts + 1):
            watch = Watch([model.pid for model in models.values()], cpus=_cores_for(profile))
            taken = clock.time_alternating(models, blocks=blocks, min_seconds=min_seconds, min_samples=min_samples)
            seen = watch.stop({name: timing.blocks for name, timing in taken.items()}, attempts=attempt)
            if best is None or seen.spread < best[1].spread:
                best = taken, seen
            if seen.calm:
                break
        assert best is not None, "there is at least one attempt"
        timings, seen = best
        spent, source = _energies(models, timings)
        found = {
            name: Measured(
                timing=timings[name],
                ready=model.ready,
                steady=steady[name],
                spread=spread_of(timings[name].blocks),
                peak_memory_mb=model.peak_memory_mb(),
                memory_mb=model.memory_mb(),
                millijoules=spent.get(name),
            )
            for name, model in models.items()
        }
    told = Interference(seen.spread, seen.other_load, seen.stolen, seen.frequency_mhz, attempt)
    return Outcome(found, told, source)


def time_models(
    models: Mapping[str, Path],
    *,
    profile: Conditions,
    inputs: Path,
    runtime: str = "ort_cpu",
    blocks: int = 10,
    min_seconds: float = 0.5,
    min_samples: int = 50,
) -> dict[str, Timing]:
    """The latencies of files under one runtime; arguments as for `hold`.

    Raises:
        MeasurementError: A model does not run.
    """
    outcome = hold(
        {name: Entry(file, runtime) for name, file in models.items()},
        profile=profile,
        inputs=inputs,
        blocks=blocks,
        min_seconds=min_seconds,
        min_samples=min_samples,
        max_warm_seconds=3.0,
    )
    return {name: found.timing for name, found in outcome.models.items()}


def operator_times(entry: Entry, *, profile: Conditions, inputs: Path, runs: int = 30) -> list[OperatorTime]:
    """Where a model spends its time, in a process of its own under the conditions of `profile`.

    Raises:
        MeasurementError: It does not run.
    """
    with _started({"": entry}, profile=profile, inputs=inputs) as models:
        clock.warm_until_steady(models[""], max_seconds=1.0)
        return models[""].operators(runs=runs)


def threads_of(profile: Conditions) -> int:
    """How many threads the profile comes to here."""
    return min(profile.threads or machine.usable_cores(), machine.usable_cores())


@contextmanager
def _started(entries: Mapping[str, Entry], *, profile: Conditions, inputs: Path) -> Iterator[dict[str, IsolatedModel]]:
    """Processes of all models, limited as the profile says; none is left at the end."""
    with ExitStack() as stack:
        quota = None
        if profile.cpu_share is not None:
            quota = limits.CpuQuota(profile.cpu_share, name=f"compress-{os.getpid()}")
            stack.callback(quota.close)
        models = {}
        for name, entry in entries.items():
            model = IsolatedModel(
                entry.path,
                runtime=entry.runtime,
                options={**_options_for(entry.runtime, profile), **entry.options},
                inputs=inputs,
                batch=profile.batch,
                threads=threads_of(profile),
                cpus=_cores_for(profile),
                memory_mb=profile.memory_mb,
                quota=quota,
            )
            models[name] = stack.enter_context(model)
        yield models


def _cores_for(profile: Conditions) -> tuple[int, ...]:
    """The cores that models stay on, by number; none where they may move, or where the system does not say."""
    if not profile.pin or not hasattr(os, "sched_getaffinity"):
        return ()
    return tuple(sorted(os.sched_getaffinity(0)))[: threads_of(profile)]


def _options_for(runtime: str, profile: Conditions) -> dict[str, Any]:
    """What the profile says about options that this runtime has."""
    known = {option.name for option in registry.find("runtimes", runtime).options}
    return {name: getattr(profile, name) for name in ("spinning", "arena") if name in known}


def _energies(
    models: Mapping[str, IsolatedModel], timings: Mapping[str, Timing]
) -> tuple[dict[str, float], str | None]:
    """Millijoules of one inference of each model, running alone, and what counted them."""
    on_gpu = any("cuda" in str(model.ready.describe.get("provider", "")).lower() for model in models.values())
    meters = energy.gpu_meters() if on_gpu else energy.cpu_meters()
    if not meters:
        return {}, None
    found = {}
    for name, model in models.items():
        each_ms = float(timings[name].samples_ms.mean())
        times = max(1, round(_ENERGY_SECONDS * 1000 / each_ms))
        joules = energy.joules_of(lambda run=model.run, times=times: run(times), meters)  # type: ignore[misc]
        if joules is not None:
            found[name] = 1000 * joules / times
    return found, ", ".join(meter.source for meter in meters)

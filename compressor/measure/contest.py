"""Time models against one another: each in a process of its own, pinned, warm, alternating, and watched for interference.

They are started several times: where a process happens to have its memory makes it faster or slower for as long as it lives.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from compressor import registry
from compressor.measure import clock, energy, limits, machine
from compressor.measure.clock import Timing
from compressor.measure.conditions import Conditions
from compressor.measure.interference import Interference, Watch, spread_of, together
from compressor.measure.isolated import IsolatedModel, Ready
from compressor.measure.statistics import blocks_of_starts
from compressor.runtimes._contract import OperatorTime

_ENERGY_SECONDS = 1.0
_GPU_PROVIDERS = ("cuda", "tensorrt")
_WARM_AGAIN_SECONDS = 1.0  # the machine is warm after the first start; what is left is the process


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
        ready: What it took to load it; of several starts, the one whose first inference took the median time.
        steady: Whether its warm-up settled.
        spread: How far the medians of its blocks lie apart.
        peak_memory_mb: The most that its process has occupied, libraries included.
        memory_mb: What its process occupies at the end.
        millijoules: Energy of one inference, where the machine counts it.
        starts: How often it was started; see `statistics.blocks_of_starts`.
    """

    timing: Timing
    ready: Ready
    steady: bool
    spread: float
    peak_memory_mb: float
    memory_mb: float
    millijoules: float | None
    starts: int = 1


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
    starts: int = 1,
    max_warm_seconds: float = 10.0,
) -> Outcome:
    """Time models in turns; a restless set of timings is taken again, and the calmest kept.

    Args:
        entries: Models, by name.
        profile: Run conditions.
        inputs: An `.npy` file of real samples.
        blocks: Rounds; each model gives one block in each, so that blocks of the same number can be paired.
        starts: How often all processes are started anew, each time for a share of the blocks.
        min_seconds: About how long each model is timed in all.
        min_samples: Fewest timings of each.
        attempts: How often the share of a start is timed at most, while its blocks disagree.
        max_warm_seconds: Longest warm-up of each.

    Raises:
        MeasurementError: A model does not run, or the conditions cannot be had here.
    """
    shares = blocks_of_starts(blocks, starts)
    plan = _Plan(
        entries, profile, inputs, shares, min_seconds / blocks, min_samples / blocks, attempts, max_warm_seconds
    )
    return plan.carried_out()


@dataclass(frozen=True)
class _Plan:
    """What is timed, in how many blocks of each start, and how long a block is."""

    entries: Mapping[str, Entry]
    profile: Conditions
    inputs: Path
    shares: list[int]
    block_seconds: float
    block_samples: float
    attempts: int
    max_warm_seconds: float

    def carried_out(self) -> Outcome:
        """Time all models, start by start."""
        found = [self._start(number, blocks) for number, blocks in enumerate(self.shares)]
        outcomes = [models for models, _, _ in found]
        models = {name: _joined([each[name] for each in outcomes]) for name in self.entries}
        spread = max(measured.spread for measured in models.values())
        seen = replace(together([watched for _, watched, _ in found]), spread=spread)
        return Outcome(models, seen, found[-1][2])

    def _start(self, number: int, blocks: int) -> tuple[dict[str, Measured], Interference, str | None]:
        """Start every process, warm it and time its share; who is started and timed first changes from start to start."""
        names = list(self.entries) if number % 2 == 0 else list(self.entries)[::-1]
        entries = {name: self.entries[name] for name in names}
        with _started(entries, profile=self.profile, inputs=self.inputs) as models:
            limit = min(self.max_warm_seconds, math.inf if number == 0 else _WARM_AGAIN_SECONDS)
            steady = {name: clock.warm_until_steady(model, max_seconds=limit).steady for name, model in models.items()}
            timings, seen = self._calmest(models, blocks)
            spent, source = _energies(models, entries, timings) if number == len(self.shares) - 1 else ({}, None)
            measured = {
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
        return measured, seen, source

    def _calmest(self, models: Mapping[str, IsolatedModel], blocks: int) -> tuple[dict[str, Timing], Interference]:
        """The share of one start, timed again while its blocks disagree; the calmest is kept."""
        best: tuple[dict[str, Timing], Interference] | None = None
        tried = 0
        while tried < self.attempts:
            tried += 1
            watch = Watch([model.pid for model in models.values()], cpus=_cores_for(self.profile))
            taken = clock.time_alternating(
                models,
                blocks=blocks,
                min_seconds=blocks * self.block_seconds,
                min_samples=math.ceil(blocks * self.block_samples),
            )
            seen = watch.stop({name: timing.blocks for name, timing in taken.items()})
            if best is None or seen.spread < best[1].spread:
                best = taken, seen
            if seen.calm:
                break
        assert best is not None, "there is at least one attempt"
        return best[0], replace(best[1], attempts=tried)


def _joined(starts: list[Measured]) -> Measured:
    """One model over all its starts."""
    timing = Timing(tuple(block for start in starts for block in start.timing.blocks))
    return Measured(
        timing=timing,
        ready=sorted((start.ready for start in starts), key=lambda ready: ready.first_ms)[len(starts) // 2],
        steady=all(start.steady for start in starts),
        spread=spread_of(timing.blocks),
        peak_memory_mb=max(start.peak_memory_mb for start in starts),
        memory_mb=starts[-1].memory_mb,
        millijoules=starts[-1].millijoules,
        starts=len(starts),
    )


def time_models(
    models: Mapping[str, Path],
    *,
    profile: Conditions,
    inputs: Path,
    runtime: str = "ort_cpu",
    blocks: int = 10,
    min_seconds: float = 0.5,
    min_samples: int = 50,
    starts: int = 1,
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
        starts=starts,
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
    """The fastest cores, that models stay on; none where they may move, or where the system does not say."""
    if not profile.pin or not hasattr(os, "sched_getaffinity"):
        return ()
    return tuple(sorted(machine.fastest_first(os.sched_getaffinity(0))[: threads_of(profile)]))


def _options_for(runtime: str, profile: Conditions) -> dict[str, Any]:
    """What the profile says about options that this runtime has."""
    known = {option.name for option in registry.find("runtimes", runtime).options}
    return {name: getattr(profile, name) for name in ("spinning", "arena") if name in known}


def _energies(
    models: Mapping[str, IsolatedModel], entries: Mapping[str, Entry], timings: Mapping[str, Timing]
) -> tuple[dict[str, float], str | None]:
    """Millijoules of one inference of each model, running alone, and what counted them."""
    found, sources = {}, []
    for name, model in models.items():
        provider = str(model.ready.describe.get("provider", "")).lower()
        on_gpu = any(word in provider for word in _GPU_PROVIDERS)
        meters = energy.gpu_meters(_number(entries[name].options)) if on_gpu else energy.cpu_meters()
        if not meters:
            continue
        each_ms = float(timings[name].samples_ms.mean())
        times = max(1, round(_ENERGY_SECONDS * 1000 / each_ms))
        joules = energy.joules_of(lambda run=model.run, times=times: run(times), meters)  # type: ignore[misc]
        if joules is not None:
            found[name] = 1000 * joules / times
            sources += [meter.source for meter in meters]
    return found, ", ".join(dict.fromkeys(sources)) or None


def _number(options: Mapping[str, Any]) -> int:
    """The number of the GPU that a runtime's options name: `device = 1`, `device = "cuda:1"`; the first one otherwise."""
    _, _, number = str(options.get("device", 0)).rpartition(":")
    return int(number) if number.isdigit() else 0

"""A contest's outcome as records: what `measurements.json` and `device.json` hold of each timing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from compressor.errors import MeasurementError
from compressor.measure.contest import Measured, threads_of
from compressor.measure.record import CurvePoint, Speedup, Timing
from compressor.measure.statistics import blocks_of_starts, paired_speedup, percentile_interval, summarise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressor.measure.conditions import Conditions

    Taken = Mapping[tuple[str, str], Sequence[NDArray[np.float64]]]
    """The blocks of latencies of each (role, runtime) of a contest."""


@dataclass(frozen=True)
class Place:
    """Which model was timed, and where.

    Attributes:
        role: Of the model.
        runtime: That it ran on.
        profile: What timings under these conditions are called (`sizes.condition`).
        sizes: Of each axis that varies; empty where none does.
    """

    role: str
    runtime: str
    profile: str
    sizes: Mapping[str, int]


def timing(place: Place, found: Measured, profile: Conditions, *, taken: Taken, base: str) -> Timing:
    """Everything about one model under one profile, but for the samples themselves.

    Args:
        place: Which model, and where.
        found: What the contest gave of it.
        profile: The conditions.
        taken: The blocks of every (role, runtime) of the same contest.
        base: Role that it is held against.

    Raises:
        MeasurementError: A median latency that cannot be.
    """
    point = curve_point(place, found, profile)
    on_its_runtime, in_torch = (
        speedup(place, taken, base=base, on=on, starts=found.starts) for on in (place.runtime, "torch")
    )
    return Timing(
        **{each.name: getattr(point, each.name) for each in fields(point)},
        load_ms=found.ready.load_ms,
        first_ms=found.ready.first_ms,
        peak_memory_mb=found.peak_memory_mb,
        memory_mb=found.memory_mb,
        library_memory_mb=found.ready.before_mb,
        millijoules=found.millijoules,
        describe=dict(found.ready.describe),
        steady=found.steady,
        spread=found.spread,
        starts=found.starts,
        speedup=on_its_runtime,
        speedup_against_teacher_torch=in_torch,
    )


def curve_point(place: Place, found: Measured, profile: Conditions) -> CurvePoint:
    """The latencies of one model in numbers, and its throughput in samples per second.

    Raises:
        MeasurementError: A median latency that cannot be.
    """
    summary = summarise(found.timing.samples_ms)
    if not math.isfinite(summary.p50_ms) or summary.p50_ms <= 0:
        raise MeasurementError(f"a median latency of {summary.p50_ms} ms cannot be")
    starts = _by_start(found)
    return CurvePoint(
        role=place.role,
        runtime=place.runtime,
        profile=place.profile,
        sizes=place.sizes,
        threads=threads_of(profile),
        batch=profile.batch,
        samples=summary.count,
        mean_ms=summary.mean_ms,
        std_ms=summary.std_ms,
        p50_ms=summary.p50_ms,
        p50_interval=percentile_interval(starts, 50),
        p90_ms=summary.p90_ms,
        p90_interval=percentile_interval(starts, 90),
        p95_ms=summary.p95_ms,
        p99_ms=summary.p99_ms,
        throughput_per_s=1000 * profile.batch / summary.mean_ms,
    )


def _by_start(found: Measured) -> list[NDArray[np.float64]]:
    """The latencies of each start of a model's process."""
    blocks = found.timing.blocks
    ends = np.cumsum(blocks_of_starts(len(blocks), found.starts)).tolist()
    return [np.concatenate(blocks[begin:end]) for begin, end in zip([0, *ends], ends)]


def speedup(place: Place, taken: Taken, *, base: str, on: str, starts: int) -> Speedup | None:
    """How much faster a model is than the base on a runtime; None for the base itself, and where the base did not run there.

    Of a single start `low` and `high` are None: nothing there tells how the next start would differ (docs/decisions/027).

    Args:
        place: Which model.
        taken: The blocks of every (role, runtime) of the same contest.
        base: Role that it is held against.
        on: The base's runtime.
        starts: How often the models were started for these blocks.
    """
    own = (place.role, place.runtime)
    if (base, on) not in taken or own == (base, on):
        return None
    found = paired_speedup(taken[base, on], taken[own], starts=starts)
    low, high = (found.low, found.high) if starts > 1 else (None, None)
    return Speedup(found.ratio, low, high, base)

"""A contest's outcome as plain data: what `measurements.json` and `device.json` hold of each timing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor.errors import MeasurementError
from compressor.measure.contest import Measured, threads_of
from compressor.measure.statistics import blocks_of_starts, paired_speedup, percentile_interval, summarise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressor.measure.conditions import Conditions

    Blocks = Sequence[NDArray[np.float64]]


def timing(found: Measured, profile: Conditions) -> dict[str, Any]:
    """Everything about one model under one profile, but for the samples themselves; milliseconds and 10^6 bytes.

    Raises:
        MeasurementError: A median latency that cannot be.
    """
    return {
        "threads": threads_of(profile),
        "batch": profile.batch,
        **percentiles(found, profile),
        "load_ms": found.ready.load_ms,
        "first_ms": found.ready.first_ms,
        "peak_memory_mb": found.peak_memory_mb,
        "memory_mb": found.memory_mb,
        "library_memory_mb": found.ready.before_mb,
        "millijoules": found.millijoules,
        "describe": dict(found.ready.describe),
        "steady": found.steady,
        "spread": found.spread,
        "starts": found.starts,
    }


def percentiles(found: Measured, profile: Conditions) -> dict[str, Any]:
    """The latencies of one model in numbers, and its throughput in samples per second.

    Raises:
        MeasurementError: A median latency that cannot be.
    """
    summary = summarise(found.timing.samples_ms)
    if not math.isfinite(summary.p50_ms) or summary.p50_ms <= 0:
        raise MeasurementError(f"a median latency of {summary.p50_ms} ms cannot be")
    starts = _by_start(found)
    return {
        "samples": summary.count,
        "mean_ms": summary.mean_ms,
        "std_ms": summary.std_ms,
        "p50_ms": summary.p50_ms,
        "p50_interval": percentile_interval(starts, 50),
        "p90_ms": summary.p90_ms,
        "p90_interval": percentile_interval(starts, 90),
        "p95_ms": summary.p95_ms,
        "p99_ms": summary.p99_ms,
        "throughput_per_s": 1000 * profile.batch / summary.mean_ms,
    }


def _by_start(found: Measured) -> list[NDArray[np.float64]]:
    """The latencies of each start of a model's process."""
    blocks = found.timing.blocks
    ends = np.cumsum(blocks_of_starts(len(blocks), found.starts)).tolist()
    return [np.concatenate(blocks[begin:end]) for begin, end in zip([0, *ends], ends)]


def speedups(
    role: str, runtime: str, taken: Mapping[tuple[str, str], Blocks], *, base: str, starts: int = 1
) -> dict[str, dict[str, Any] | None]:
    """How much faster than the base on the same runtime, and than the base as it came (in PyTorch).

    Of a single start `low` and `high` are None: nothing there tells how the next start would differ (docs/decisions/027).

    Args:
        role: Of the model.
        runtime: That it ran on.
        taken: The blocks of every (role, runtime) of the same contest.
        base: Role that it is held against.
        starts: How often the models were started for these blocks.
    """

    def against(other: str) -> dict[str, Any] | None:
        if (base, other) not in taken or (role, runtime) == (base, other):
            return None
        found = paired_speedup(taken[base, other], taken[role, runtime], starts=starts)
        low, high = (found.low, found.high) if starts > 1 else (None, None)
        return {"ratio": found.ratio, "low": low, "high": high, "against": base}

    return {"speedup": against(runtime), "speedup_against_teacher_torch": against("torch")}

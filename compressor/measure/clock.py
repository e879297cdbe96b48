"""Timing that a drifting machine cannot fake: warm until steady, then in alternating blocks, every sample kept.

Contestants that are compared run in turn, in rounds: A B, B A, A B, ... (ABBA), so that a linear drift cancels and block
i of one can be paired with block i of the other (`statistics.paired_speedup`).

Not covered: keeping contestants apart, each in a process of its own (`isolated.py`).
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WINDOW_RUNS = (5, 500)  # fewest and most runs of a warm-up window
_PILOT_RUNS = 5


class Contestant(Protocol):
    """A model that can be timed."""

    def run(self, times: int) -> NDArray[np.float64]:
        """Milliseconds of each of `times` inferences, in order."""
        ...


class Calls:
    """A contestant in this process: a function, with the clock read before and after each call."""

    def __init__(self, call: Callable[[], object], *, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        """Set up.

        Args:
            call: One inference.
            clock: Nanoseconds since some moment.
        """
        self._call = call
        self._clock = clock

    def run(self, times: int) -> NDArray[np.float64]:
        """Milliseconds of each of `times` calls; the garbage collector waits until they are done."""
        call, clock = self._call, self._clock
        samples_ns = []
        with _garbage_left_alone():
            for _ in range(times):
                begin = clock()
                call()
                samples_ns.append(clock() - begin)
        return np.array(samples_ns, dtype=np.float64) / 1e6


@dataclass(frozen=True)
class Warmup:
    """How many inferences the warm-up took, and whether it ended because the time of one no longer changed."""

    runs: int
    steady: bool


@dataclass(frozen=True)
class Timing:
    """Every latency of one contestant in milliseconds, by block, in the order they were taken."""

    blocks: tuple[NDArray[np.float64], ...]

    @property
    def samples_ms(self) -> NDArray[np.float64]:
        """All latencies, in order."""
        return np.concatenate(self.blocks)


def warm_until_steady(
    contestant: Contestant, *, tolerance: float = 0.05, window_seconds: float = 0.2, max_seconds: float = 10.0
) -> Warmup:
    """Run until the median of a window is within `tolerance` of that of the window before.

    Args:
        contestant: What is warmed.
        tolerance: Largest change of the median, as a share of the one before.
        window_seconds: About how long a window is; at least 5 and at most 500 runs.
        max_seconds: Give up, as not steady, once the runs together took this long.
    """
    first_ms = contestant.run(1)  # pays for lazy set-up, so it is in no window
    runs, spent_ms, previous_ms = 1, float(first_ms.sum()), math.nan
    times = _WINDOW_RUNS[0]
    while spent_ms < max_seconds * 1000:
        window = contestant.run(times)
        runs, spent_ms, median_ms = runs + times, spent_ms + float(window.sum()), float(np.median(window))
        if abs(median_ms - previous_ms) <= tolerance * previous_ms:
            return Warmup(runs, steady=True)
        previous_ms = median_ms
        times = _runs_in(window_seconds, median_ms, fewest=_WINDOW_RUNS[0], most=_WINDOW_RUNS[1])
    return Warmup(runs, steady=False)


def time_alternating(
    contestants: Mapping[str, Contestant], *, blocks: int, min_seconds: float, min_samples: int
) -> dict[str, Timing]:
    """Time warm contestants in alternating blocks.

    Args:
        contestants: By name; all of them run in every round.
        blocks: Number of rounds; each contestant gives one block in each.
        min_seconds: About how long each contestant is timed in all, judged by a pilot of five runs.
        min_samples: Fewest samples of each contestant in all.
    """
    block_runs = {
        name: _block_runs(contestant, blocks=blocks, min_seconds=min_seconds, min_samples=min_samples)
        for name, contestant in contestants.items()
    }
    taken: dict[str, list[NDArray[np.float64]]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(blocks):
        for name in names if number % 2 == 0 else reversed(names):
            taken[name].append(contestants[name].run(block_runs[name]))
    return {name: Timing(tuple(found)) for name, found in taken.items()}


def _block_runs(contestant: Contestant, *, blocks: int, min_seconds: float, min_samples: int) -> int:
    pilot_ms = float(np.median(contestant.run(_PILOT_RUNS)))
    return _runs_in(min_seconds / blocks, pilot_ms, fewest=math.ceil(min_samples / blocks))


def _runs_in(seconds: float, each_ms: float, *, fewest: int, most: float = math.inf) -> int:
    """How many runs of `each_ms` fill `seconds`, within limits."""
    return int(min(max(math.ceil(seconds * 1000 / each_ms), fewest, 1), most))


@contextmanager
def _garbage_left_alone() -> Iterator[None]:
    """Collect now, then not until the end: a collection in the middle would be charged to whichever run it meets."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

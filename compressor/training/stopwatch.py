"""Where the milliseconds of a training step go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

Phase = Literal["data", "views", "teacher", "student", "losses", "backward", "optimiser", "rest"]
PHASES: tuple[Phase, ...] = get_args(Phase)

WHAT: dict[Phase, str] = {
    "data": "waiting for the next batch",
    "views": "augmentation, scaling, moving to the device",
    "teacher": "the teacher's answer, computed or read from its cache",
    "student": "the student's forward pass",
    "losses": "comparing the answers, and looking at the losses",
    "backward": "gradients, and their sum over processes",
    "optimiser": "the step, clipping, the weight average",
    "rest": "progress and bookkeeping",
}


class Stopwatch:
    """Adds up the seconds of each phase.

    Args:
        synchronise: Waits until the device has done what it was given, so that work is counted where it was asked for;
            None where calls return when they are done (CPU).
    """

    def __init__(self, synchronise: Callable[[], None] | None = None) -> None:
        self.seconds: dict[Phase, float] = dict.fromkeys(PHASES, 0.0)
        self.steps = 0
        self.samples = 0
        self._synchronise = synchronise

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Count the time inside towards `name`."""
        started = time.perf_counter()
        try:
            yield
            if self._synchronise is not None:
                self._synchronise()
        finally:
            self.seconds[name] += time.perf_counter() - started

    def step(self, samples: int) -> None:
        """A step over so many samples is done."""
        self.steps += 1
        self.samples += samples

    def ms_per_step(self) -> dict[Phase, float]:
        """Milliseconds of a step in each phase; empty before the first step."""
        if not self.steps:
            return {}
        return {name: 1000 * seconds / self.steps for name, seconds in self.seconds.items()}

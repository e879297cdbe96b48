"""Whether something else was at work while models were timed, and whether their blocks agree.

Linux counts the time that each core was busy (`/proc/stat`) and the time that each process took (`/proc/PID/stat`): what
the cores did beyond our own processes is other load, and what the hypervisor kept is stolen. Elsewhere both are None.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESTLESS = 0.15
"""Largest spread of the blocks' medians at which a set of timings counts as calm."""

_PROC = Path("/proc")
_BUSY = (0, 1, 2, 5, 6)  # user, nice, system, irq, softirq in a line of /proc/stat
_STOLEN = 7


@dataclass(frozen=True)
class Interference:
    """What disturbed a set of timings.

    Attributes:
        spread: Distance from the 10th to the 90th percentile of the blocks' medians, over their median; of the contestant
            with the largest.
        other_load: Share of the cores' time that other processes took; None where the system does not tell.
        stolen: Share that the hypervisor gave to others.
        frequency_mhz: Of the first core, before and after.
        attempts: How often the timing was done before it was taken.
    """

    spread: float
    other_load: float | None
    stolen: float | None
    frequency_mhz: tuple[float, float] | None
    attempts: int = 1

    @property
    def calm(self) -> bool:
        """Whether the blocks agree well enough for their latencies to be believed."""
        return self.spread <= RESTLESS


def together(seen: Sequence[Interference]) -> Interference:
    """What disturbed several sets of timings, taken one after the other: means, the worst spread, the most attempts."""

    def mean(shares: Sequence[float | None]) -> float | None:
        known = [share for share in shares if share is not None]
        return sum(known) / len(known) if known else None

    clocks = [each.frequency_mhz for each in seen if each.frequency_mhz is not None]
    return Interference(
        spread=max(each.spread for each in seen),
        other_load=mean([each.other_load for each in seen]),
        stolen=mean([each.stolen for each in seen]),
        frequency_mhz=(clocks[0][0], clocks[-1][1]) if clocks else None,
        attempts=max(each.attempts for each in seen),
    )


def spread_of(blocks: Sequence[NDArray[np.float64]]) -> float:
    """How far the medians of a contestant's blocks lie apart, as a share of their median."""
    medians = [float(np.median(block)) for block in blocks]
    low, middle, high = np.percentile(medians, [10, 50, 90])
    return float((high - low) / middle)


class Watch:
    """Looks at the machine from now until `stop`."""

    def __init__(self, pids: Sequence[int], *, cpus: Sequence[int] = (), proc: Path = _PROC) -> None:
        """Begin.

        Args:
            pids: Our own processes, whose work is no interference.
            cpus: Cores that they are on; empty for all.
            proc: Where the system tells about itself.
        """
        self._pids, self._cpus, self._proc = tuple(pids), frozenset(cpus), proc
        self._begin = time.monotonic()
        self._cores, self._own, self._mhz = self._cores_now(), self._own_now(), _frequency(cpus)

    def stop(self, blocks: Mapping[str, Sequence[NDArray[np.float64]]], *, attempts: int = 1) -> Interference:
        """What was seen, with the spread of the `blocks` of each contestant."""
        wall = time.monotonic() - self._begin
        cores, own, mhz = self._cores_now(), self._own_now(), _frequency(tuple(self._cpus))
        other = stolen = None
        if cores is not None and self._cores is not None and wall > 0:
            available = wall * cores[2]
            other = min(1.0, max(0.0, (cores[0] - self._cores[0] - (own - self._own)) / available))
            stolen = min(1.0, max(0.0, (cores[1] - self._cores[1]) / available))
        frequency = None if mhz is None or self._mhz is None else (self._mhz, mhz)
        return Interference(max(map(spread_of, blocks.values())), other, stolen, frequency, attempts)

    def _cores_now(self) -> tuple[float, float, int] | None:
        """Seconds that our cores were busy and that were stolen from them, and their number."""
        busy = stolen = 0.0
        number = 0
        for line in _text(self._proc / "stat").splitlines():
            name, *counts = line.split()
            if not name.startswith("cpu") or name == "cpu" or (self._cpus and int(name[3:]) not in self._cpus):
                continue
            number += 1
            busy += sum(int(counts[index]) for index in _BUSY)
            stolen += int(counts[_STOLEN]) if len(counts) > _STOLEN else 0
        return (busy / _ticks(), stolen / _ticks(), number) if number else None

    def _own_now(self) -> float:
        """Seconds of processor time that our processes took so far."""
        spent = 0
        for pid in self._pids:
            after_name = _text(self._proc / str(pid) / "stat").rpartition(")")[2].split()
            if len(after_name) > 12:
                spent += int(after_name[11]) + int(after_name[12])
        return spent / _ticks()


def _frequency(cpus: Sequence[int]) -> float | None:
    first = min(cpus, default=0)
    told = _text(Path(f"/sys/devices/system/cpu/cpu{first}/cpufreq/scaling_cur_freq")).strip()
    return int(told) / 1000 if told.isdigit() else None


def _ticks() -> int:
    return os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""

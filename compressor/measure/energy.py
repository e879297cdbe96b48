"""Energy that inferences take, where the machine counts it: Intel and AMD packages through RAPL, NVIDIA GPUs through NVML.

What is counted is the whole package or GPU, its idle power and whatever else runs on it included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Meter:
    """A counter of joules.

    Attributes:
        source: What counts: `RAPL package-0`, `NVML NVIDIA H100`.
        read: Joules since some moment.
        wraps_at: Joules at which the counter begins anew; 0 if it does not.
    """

    source: str
    read: Callable[[], float]
    wraps_at: float = 0.0

    def spent(self, begin: float, end: float) -> float:
        """Joules between two readings, at most one turn of the counter apart."""
        return end - begin if end >= begin else end - begin + self.wraps_at


def cpu_meters(powercap: Path = _POWERCAP) -> list[Meter]:
    """A counter for each processor package that can be read; none where there is none, or only root may."""
    found = []
    for zone in sorted(powercap.glob("*-rapl:[0-9]*")):
        if zone.name.count(":") != 1:
            continue  # a part of a package, counted in it already
        counter = zone / "energy_uj"
        try:
            name = (zone / "name").read_text(encoding="ascii").strip()
            limit = int((zone / "max_energy_range_uj").read_text(encoding="ascii")) / 1e6
            int(counter.read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        found.append(Meter(f"RAPL {name}", lambda file=counter: _joules(file), limit))  # type: ignore[misc]
    return found


def gpu_meters() -> list[Meter]:
    """A counter for each NVIDIA GPU; none without `nvidia-ml-py` or a driver that answers."""
    try:
        import pynvml
    except ImportError:
        return []
    nvml: Any = pynvml
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        names = [nvml.nvmlDeviceGetName(handle) for handle in handles]
        for handle in handles:
            nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:
        return []
    return [
        Meter(f"NVML {name}", lambda of=handle: nvml.nvmlDeviceGetTotalEnergyConsumption(of) / 1000)  # type: ignore[misc]
        for name, handle in zip(names, handles)
    ]


def joules_of(work: Callable[[], object], meters: list[Meter]) -> float | None:
    """Joules that all `meters` together count while `work` runs; None without meters."""
    if not meters:
        return None
    begin = [meter.read() for meter in meters]
    work()
    end = [meter.read() for meter in meters]
    return sum(meter.spent(first, last) for meter, first, last in zip(meters, begin, end))


def _joules(counter: Path) -> float:
    return int(counter.read_text(encoding="ascii")) / 1e6

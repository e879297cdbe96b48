"""Energy that inferences take, where the machine counts it: Intel and AMD packages through RAPL, NVIDIA GPUs through NVML.

What is counted is the whole package, or the GPU that runs the model, its idle power and whatever else runs on it included.
"""

from __future__ import annotations

import os
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
        counter = zone / "energy_uj"
        try:
            name = (zone / "name").read_text(encoding="ascii").strip()
            if not name.startswith("package"):
                continue  # a part of a package, counted in it already, or the whole platform (psys), which counts packages
            limit = int((zone / "max_energy_range_uj").read_text(encoding="ascii")) / 1e6
            int(counter.read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        found.append(Meter(f"RAPL {name}", lambda file=counter: _joules(file), limit))  # type: ignore[misc]
    return found


def gpu_meters(device: int = 0) -> list[Meter]:
    """The counter of one NVIDIA GPU; none without `nvidia-ml-py`, or a driver or GPU that answers.

    Args:
        device: Its number as CUDA counts, among those that `CUDA_VISIBLE_DEVICES` leaves. Where GPUs of different kinds
            are mixed CUDA counts the fastest first, unless `CUDA_DEVICE_ORDER=PCI_BUS_ID`, as is assumed here.
    """
    try:
        import pynvml
    except ImportError:
        return []
    nvml: Any = pynvml
    try:
        nvml.nvmlInit()
        visible = [each.strip() for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each.strip()]
        named = visible[device] if visible else str(device)
        by_number = named.isdigit()
        handle = nvml.nvmlDeviceGetHandleByIndex(int(named)) if by_number else nvml.nvmlDeviceGetHandleByUUID(named)
        name = nvml.nvmlDeviceGetName(handle)
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except (nvml.NVMLError, IndexError):
        return []
    return [Meter(f"NVML {name}", lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000)]


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

"""Joules from the counters of a processor package, here written by the test."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from compressor.measure.energy import Meter, cpu_meters, gpu_meters, joules_of


def zone(powercap: Path, name: str, *, joules: float, wraps_at: float = 1000.0, label: str = "package-0") -> Path:
    folder = powercap / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(label + "\n")
    (folder / "max_energy_range_uj").write_text(f"{round(wraps_at * 1e6)}\n")
    (folder / "energy_uj").write_text(f"{round(joules * 1e6)}\n")
    return folder / "energy_uj"


def test_what_the_package_counts_while_the_work_runs_is_its_energy(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", joules=10.0)
    (meter,) = cpu_meters(tmp_path)

    spent = joules_of(lambda: counter.write_text("12500000"), [meter])

    assert (meter.source, spent) == ("RAPL package-0", pytest.approx(2.5))


def test_parts_of_a_package_are_not_counted_twice(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", joules=10.0)
    zone(tmp_path, "intel-rapl:0:1", joules=3.0, label="dram")

    assert [meter.source for meter in cpu_meters(tmp_path)] == ["RAPL package-0"]


def test_the_whole_platform_is_not_another_package(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", joules=10.0)
    zone(tmp_path, "intel-rapl:1", joules=15.0, label="psys")

    assert [meter.source for meter in cpu_meters(tmp_path)] == ["RAPL package-0"]


@pytest.mark.parametrize(
    ("visible", "device", "source"),
    [("", 1, "NVML by number 1"), ("3,2", 1, "NVML by number 2"), ("GPU-a,GPU-b", 0, "NVML by name GPU-a")],
)
def test_only_the_gpu_that_runs_is_counted(monkeypatch, visible: str, device: int, source: str) -> None:
    library = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda number: f"by number {number}",
        nvmlDeviceGetHandleByUUID=lambda name: f"by name {name}",
        nvmlDeviceGetName=lambda handle: handle,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 5000,
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    (meter,) = gpu_meters(device)

    assert (meter.source, meter.read()) == (source, 5.0)


def test_a_gpu_that_is_not_visible_is_not_counted(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(NVMLError=RuntimeError, nvmlInit=lambda: None))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")

    assert gpu_meters(1) == []


def test_a_counter_that_begins_anew_is_followed() -> None:
    assert Meter("any", read=lambda: 0.0, wraps_at=100.0).spent(90.0, 15.0) == pytest.approx(25.0)


def test_a_machine_without_counters_gives_none(tmp_path: Path) -> None:
    assert cpu_meters(tmp_path / "nowhere") == []
    assert joules_of(lambda: None, []) is None

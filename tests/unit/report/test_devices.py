"""The same models on other machines, beside this one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from compressor.measure.record import Device, Interference, Timing
from compressor.report.devices import device_latencies, devices
from compressor.report.facts import ReportData

CALM = Interference("edge", 0.01, 0.0, 0.0, None, 1, calm=True)
RESTLESS = Interference("server", 0.31, 0.5, 0.0, None, 3, calm=False)


def there(data: ReportData, **changed: Any) -> tuple[Timing, ...]:
    """This machine's timings of ONNX Runtime, nine times as slow."""
    return tuple(replace(each, p50_ms=each.p50_ms * 9, **changed) for each in data.timings if each.runtime == "ort_cpu")


def with_device(data: ReportData, measured: tuple[Timing, ...], **changed: Any) -> ReportData:
    student = data.candidate("student")
    assert student is not None
    entry = replace(student.accuracy[0], samples=500)
    machine = {"cpu": "Cortex-A76", "architecture": "aarch64", "isa": ["neon_dotprod"]}
    parity = {"student": {"agreement": 0.998}}
    device = Device(
        name="pi",
        run="digits",
        pack="0",
        created="2026-01-01",
        machine=machine,
        versions={},
        models={},
        timings=measured,
        interference=(CALM, RESTLESS),
        accuracy={"student": entry},
        parity=parity,
    )
    return replace(data, devices=(device,), **changed)


def cells(data: ReportData, device: str, model: str, profile: str = "edge") -> dict[str, str]:
    table = devices(data)
    rows = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    return next(row for row in rows if (row["Device"], row["Model"], row["Profile"]) == (device, model, profile))


def test_devices_stand_beside_this_machine(data: ReportData) -> None:
    beside = with_device(data, there(data), interference=(replace(RESTLESS, profile="edge"),))

    row, figure = cells(beside, "pi", "Student"), device_latencies(beside)

    assert row["CPU"] == "Cortex-A76 (aarch64; neon_dotprod)"
    assert (row["Same answers"], row["Blocks"]) == ("99.80 %", "calm")
    assert row["Accuracy"].endswith("% of 500")
    assert cells(beside, "this machine", "Student")["Blocks"] == "restless"
    assert figure is not None
    assert {row[0] for row in figure.rows} == {"this machine", "pi"}


def test_without_a_base_on_the_device_nobody_is_called_one(data: ReportData) -> None:
    alone = tuple(replace(each, speedup=None) for each in there(data) if each.role == "student")

    assert cells(with_device(data, alone), "pi", "Student")["Speed-up"] == "–"
    assert cells(with_device(data, there(data)), "pi", "Teacher")["Speed-up"] == "1× (base)"


def test_latencies_of_other_conditions_are_not_drawn_side_by_side(data: ReportData) -> None:
    beside = with_device(data, there(data, threads=4, batch=8))

    row, figure = cells(beside, "pi", "Student"), device_latencies(beside)

    assert (row["Threads"], row["Batch"]) == ("4", "8")
    assert figure is not None
    assert {row[0] for row in figure.rows} == {"this machine"}
    assert "other conditions stand in the table alone" in figure.caption


def test_a_profile_that_devices_have_no_timing_of_is_passed_over(data: ReportData) -> None:
    own = tuple(replace(each, profile="camera", runtime="torch") for each in data.timings)

    figure = device_latencies(with_device(data, there(data), timings=(*own, *data.timings)))

    assert figure is not None
    assert figure.caption.startswith("Under edge (1 thread, batch 1), ONNX Runtime CPU")
    assert device_latencies(with_device(data, ())) is None


def test_a_timing_on_a_runtime_that_devices_lack_is_not_put_beside_them(data: ReportData) -> None:
    torch_alone = tuple(each for each in data.timings if each.runtime == "torch")

    table = devices(with_device(data, there(data), timings=torch_alone))

    assert {row[0] for row in table.rows} == {"pi"}

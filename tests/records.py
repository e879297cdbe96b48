"""Records of measurements for tests: complete ones, of which a test states what it is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from compressor.measure.record import Accuracy as _Accuracy
from compressor.measure.record import Candidate, CurvePoint, Timing

_LATENCIES: dict[str, Any] = {
    "runtime": "ort_cpu",
    "profile": "edge",
    "sizes": {},
    "threads": 1,
    "batch": 1,
    "samples": 100,
    "mean_ms": 2.0,
    "std_ms": 0.1,
    "p50_ms": 2.0,
    "p50_interval": None,
    "p90_ms": 2.0,
    "p90_interval": None,
    "p95_ms": None,
    "p99_ms": None,
    "throughput_per_s": 500.0,
}


def timing(role: str, **changed: Any) -> Timing:
    """A latency of 2 ms on one thread, held against nothing."""
    made = Timing(
        role=role,
        **_LATENCIES,
        load_ms=None,
        first_ms=None,
        peak_memory_mb=None,
        memory_mb=None,
        library_memory_mb=None,
        millijoules=None,
        describe={},
        steady=True,
        spread=0.01,
        starts=5,
    )
    return replace(made, **changed)


def curve_point(role: str, **changed: Any) -> CurvePoint:
    """A point of a curve, 2 ms on one thread."""
    return replace(CurvePoint(role=role, **_LATENCIES), **changed)


def candidate(role: str, *, size_bytes: int = 1000, **accuracy: float) -> Candidate:
    """A model whose accuracy is stated by runtime, on 100 samples."""
    judged = tuple(_Accuracy(runtime, "test", 100, {"accuracy": value}) for runtime, value in accuracy.items())
    return Candidate(role, role.capitalize(), 10, None, {"onnx": size_bytes}, judged)

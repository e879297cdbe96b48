"""A small finished run on disk, written as the stages write it, for every test of the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressor import artifact
from compressor.artifact import Artifact, Decision, Manifest
from compressor.report.collect import collect
from compressor.report.facts import ReportData

HOSTILE = "</script><img src=x onerror=alert(1)>"
DIGITS = tuple(str(digit) for digit in range(10))
MACHINE = {"cpu": "Example CPU @ 2.00GHz", "architecture": "x86_64", "cores": 2, "memory_gb": 8.4, "isa": ["avx2"]}
ACCURACY = {"teacher": 0.9852, "distilled": 0.9777, "control": 0.9519, "student": 0.9741}
MEDIAN_MS = {"teacher": 0.412, "distilled": 0.104, "control": 0.0521, "student": 0.0519}
PARAMS = {"teacher": 288_554, "distilled": 20_314, "control": 10_314, "student": 10_314}
MACS = {"teacher": 9_812_000, "distilled": 602_000, "control": 301_000, "student": 301_000}
TITLES = {"teacher": "Teacher", "distilled": "Distilled", "control": "Control", "student": "Student"}
ROLES = ("teacher", "control", "student")


class RunFolder:
    """Builds the artifacts of one run; every argument takes something away or makes it odd."""

    def __init__(
        self,
        folder: Path,
        *,
        roles: Sequence[str],
        classes: Sequence[str],
        exported: Sequence[str],
        taught: Mapping[str, Any] | None,
    ) -> None:
        self.folder = folder
        self.roles = roles
        self.classes = classes
        self.exported = exported
        self.taught = taught

    def bench(self, change: Callable[[dict[str, Any]], None]) -> Artifact:
        parents = {role: self._trained(role) for role in self.roles}
        parents |= {f"{role}-onnx": self._exported(role, parents[role]) for role in self.roles if role in self.exported}
        measurements, samples = self._measurements()
        change(measurements)
        final = self.folder / "bench"
        with artifact.folder_for(final) as temporary:
            (temporary / "measurements.json").write_text(json.dumps(measurements), encoding="utf-8")
            np.savez(temporary / "samples.npz", **samples)
            settings = {
                "runtimes": ["torch", "ort_cpu"],
                "profiles": ["edge", "server"],
                "min_seconds": 2.0,
                "blocks": 20,
            }
            manifest = self._manifest("measurements", "bench", "bench", settings, parents, final)
            return artifact.seal(temporary, final, manifest)

    def _trained(self, role: str) -> Artifact:
        stage = "distill" if role == "student" else "train"
        final = self.folder / role
        settings: dict[str, Any] = {"model": f"{role}.py:build", "epochs": 12, "batch_size": 128, "optimizer": "adamw"}
        if role == "student":
            settings["losses"] = [{"name": "kd", "weight": 1.0, "temperature": 4.0, "alpha": 0.9}]
        decided = Decision("lr", "0.001", "what adamw usually takes")
        with artifact.folder_for(final) as temporary:
            (temporary / "weights.safetensors").write_bytes(role.encode() * 40)
            manifest = self._manifest(
                "torch",
                stage,
                role,
                settings,
                {},
                final,
                metrics={
                    "val": {"metrics": {"accuracy": ACCURACY[role]}, "per_class": [{"name": "0", "accuracy": 0.5}]}
                },
                details={"curve": _curve(ACCURACY[role])} | self._teacher_of(role),
                decisions=(decided,),
            )
            return artifact.seal(temporary, final, manifest)

    def _teacher_of(self, role: str) -> dict[str, Any]:
        return {"teacher": dict(self.taught)} if role == "student" and self.taught is not None else {}

    def _exported(self, role: str, source: Artifact) -> Artifact:
        final = self.folder / f"{role}-onnx"
        parity = {"samples": 270, "max_abs": 2.9e-6, "mean_abs": 4.1e-7, "spread": 3.2, "max_relative": 9.1e-7}
        parity |= {"agreement": 1.0, "metric_name": "accuracy"}
        parity |= {"metric_reference": ACCURACY[role], "metric_candidate": ACCURACY[role]}
        contract = {
            "layout": "NCHW",
            "dtype": "float32",
            "range": "0-1",
            "shape": ["batch", 1, 8, 8],
            "normalisation": {"baked_in": True, "name": "data", "mean": [0.5], "std": [0.25]},
        }
        with artifact.folder_for(final) as temporary:
            (temporary / "model.onnx").write_bytes(b"onnx" * 50)
            manifest = self._manifest(
                "onnx",
                "export",
                f"{role}-onnx",
                {"opset": "auto", "input": "float-nchw", "tolerance": 1e-3},
                {"source": source},
                final,
                details={"parity": parity, "input_contract": contract},
                decisions=(Decision("opset", "20", "the exporter's own"),),
            )
            return artifact.seal(temporary, final, manifest)

    def _manifest(
        self,
        kind: artifact.Kind,
        stage: str,
        role: str,
        settings: Mapping[str, Any],
        parents: Mapping[str, Artifact],
        final: Path,
        *,
        metrics: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
        decisions: tuple[Decision, ...] = (),
    ) -> Manifest:
        return Manifest(
            kind=kind,
            stage=stage,
            role=role,
            key=artifact.key_of(stage=stage, role=role, settings=settings),
            seed=3,
            settings=settings,
            parents={name: artifact.parent_entry(parent, final) for name, parent in parents.items()},
            data={"name": "digits", "fingerprint": "d1g175"},
            metrics=metrics or {},
            details=details or {},
            decisions=decisions,
            machine=MACHINE,
            elapsed_s=41.3,
        )

    def _measurements(self) -> tuple[dict[str, Any], dict[str, Any]]:
        generator = np.random.default_rng(0)
        timings, samples = [], {}
        for role in self.roles:
            for runtime in self._runtimes(role):
                for profile, threads, batch in (("edge", 1, 1), ("server", 0, 32)):
                    scale = MEDIAN_MS[role] * (1 if batch == 1 else 9) * (2.3 if runtime == "torch" else 1)
                    values = scale * generator.lognormal(0.0, 0.05, size=400)
                    samples[f"{runtime}.{profile}.{role}"] = values
                    samples[f"{runtime}.{profile}.{role}.block"] = np.repeat(np.arange(20), 20)
                    timings.append(self._timing(role, runtime, profile, threads, batch, values))
        content = {
            "schema": 1,
            "run": "digits",
            "task": "classification",
            "metric": "accuracy",
            "classes": list(self.classes),
            "base": self.roles[0],
            "candidates": [self._candidate(role) for role in self.roles],
            "timings": timings,
            "budgets": [{"budget": "max_drop", "limit": 2.0, "value": 1.11, "unit": "points", "met": True}],
            "missing": [],
        }
        return content, samples

    def _runtimes(self, role: str) -> tuple[str, ...]:
        return ("torch", "ort_cpu") if role in self.exported else ("torch",)

    def _candidate(self, role: str) -> dict[str, Any]:
        sizes = {"torch": PARAMS[role] * 4 + 1500}
        if role in self.exported:
            sizes["onnx"] = PARAMS[role] * 4 + 9000
        return {
            "role": role,
            "title": TITLES[role],
            "params": PARAMS[role],
            "macs": MACS[role],
            "size_bytes": sizes,
            "accuracy": [self._accuracy(role, runtime) for runtime in self._runtimes(role)],
        }

    def _accuracy(self, role: str, runtime: str) -> dict[str, Any]:
        value = ACCURACY[role]
        per_class = [
            {"name": name, "samples": 27, "accuracy": min(1.0, value - 0.03 + 0.037 * (index % 3))}
            for index, name in enumerate(self.classes)
        ]
        return {
            "runtime": runtime,
            "split": "test",
            "samples": 270,
            "metrics": {"accuracy": value, "loss": 0.11, "ece": 0.02},
            "interval": [value - 0.021, value + 0.012],
            "per_class": per_class,
            "agreement_with_teacher": 1.0 if role == "teacher" else value,
            "confusion": [],
        }

    def _timing(self, role: str, runtime: str, profile: str, threads: int, batch: int, values: Any) -> dict[str, Any]:
        ratio = MEDIAN_MS["teacher"] / MEDIAN_MS[role]
        speedup = {"ratio": ratio, "low": ratio * 0.99, "high": ratio * 1.012, "against": "teacher"}
        compared = role != "teacher" and "teacher" in self.roles and runtime in self._runtimes("teacher")
        return {
            "role": role,
            "runtime": runtime,
            "profile": profile,
            "threads": threads,
            "batch": batch,
            "samples": len(values),
            "mean_ms": float(values.mean()),
            "p50_ms": float(np.median(values)),
            "p90_ms": float(np.percentile(values, 90)),
            "p99_ms": None,
            "throughput_per_s": float(1000 * batch / values.mean()),
            "load_ms": 21.4,
            "first_ms": 3.2,
            "peak_memory_mb": 58.1,
            "describe": {"provider": "CPUExecutionProvider", "threads": threads},
            "steady": True,
            "starts": 5,
            "speedup": speedup if compared else None,
            "speedup_against_teacher_torch": speedup if role != "teacher" and "teacher" in self.roles else None,
        }


def _curve(final_accuracy: float) -> list[dict[str, Any]]:
    steps = range(12)
    return [
        {
            "epoch": step,
            "lr": 0.001,
            "losses": {"kd": 2.0 / (step + 1)},
            "train_loss": 2.0 / (step + 1),
            "val": None if step == 2 else {"accuracy": final_accuracy - 0.5 * 0.6**step, "loss": 1.8 / (step + 1)},
            "images_per_s": 900.0,
        }
        for step in steps
    ]


def build_run(
    folder: Path,
    *,
    roles: Sequence[str] = ROLES,
    classes: Sequence[str] = DIGITS,
    exported: Sequence[str] = ROLES,
    taught: Mapping[str, Any] | None = None,
    change: Callable[[dict[str, Any]], None] = lambda measurements: None,
) -> Artifact:
    """Write a whole run below `folder` and give back its bench artifact.

    `taught` is what the student's stage says of its teacher; `change` edits the measurements first.
    """
    return RunFolder(folder, roles=roles, classes=classes, exported=exported, taught=taught).bench(change)


MakeRun = Callable[..., Artifact]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run below `tmp_path/runs/digits`; takes what `build_run` takes."""
    return lambda **options: build_run(tmp_path / "runs" / "digits", **options)


@pytest.fixture
def data(make_run: MakeRun) -> ReportData:
    """The facts of a complete run."""
    return collect(make_run())


@pytest.fixture
def hostile_name() -> str:
    """A name that would run a script if any place took it for HTML."""
    return HOSTILE


@pytest.fixture
def hostile_data(make_run: MakeRun) -> ReportData:
    """The facts of a run in which every name that a user can choose tries to inject."""
    names = [HOSTILE, "a|b`c", "<a href='javascript:alert(1)'>x</a>", "\u2028\u2029", *DIGITS[4:]]

    def poison(measurements: dict[str, Any]) -> None:
        measurements["run"] = HOSTILE
        for candidate in measurements["candidates"]:
            candidate["title"] += HOSTILE
        measurements["missing"] = [{"what": HOSTILE, "reason": HOSTILE}]

    return collect(make_run(classes=names, change=poison))

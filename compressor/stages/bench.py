"""Measure candidates against the teacher, on the runtimes that will run them: accuracy, latency, memory, size.

Every model is timed in a process of its own, pinned to its cores. Models under the same runtime and profile alternate in
blocks, and the speed-up is the median of their paired ratios, so a machine that drifts cannot fake a result.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor import artifact, console, registry
from compressor.artifact import Artifact, Target
from compressor.data.samples import Dataset
from compressor.errors import MeasurementError
from compressor.measure import clock, machine
from compressor.measure.accuracy import evaluate, predict
from compressor.measure.isolated import IsolatedModel, Ready
from compressor.measure.statistics import Interval, paired_speedup, summarise
from compressor.models import checkpoint, inspection
from compressor.recipe import BenchSettings, ProfileSettings
from compressor.runtimes._contract import Runtime
from compressor.tasks._contract import Task
from compressor.training.start import require_same_classes

SCHEMA = 1
_INPUTS_KEPT = 64
_Blocks = tuple[NDArray[np.float64], ...]


@dataclass(frozen=True)
class Candidate:
    """A model to measure, in every form it exists in.

    Attributes:
        role: `teacher`, `control`, `student`, or a name of the user's.
        title: What tables call it.
        torch: Its network, if there is one.
        onnx: Its ONNX model (an artifact's folder or a file), if there is one.
        timed: Whether it is timed; a control has its student's architecture, so its accuracy is all that is new.
        why_no_onnx: Why there is no ONNX form of it, for the report.
    """

    role: str
    title: str
    torch: Artifact | None = None
    onnx: Path | None = None
    timed: bool = True
    why_no_onnx: str = "it was not exported"

    def form_for(self, runtime: str) -> Path | None:
        """What a runtime loads of this candidate."""
        if runtime.startswith("torch"):
            return self.torch.path if self.torch else None
        return self.onnx


def bench(
    candidates: Sequence[Candidate],
    settings: BenchSettings,
    *,
    base: str,
    dataset: Dataset,
    task: Task,
    target: Target,
) -> Artifact:
    """Measure all candidates and keep every sample.

    Args:
        candidates: What is measured.
        settings: Runtimes, profiles, how long, budgets.
        base: Role that the others are compared with.
        dataset: Where inputs come from; accuracy is measured on its test set.
        task: What outputs mean.
        target: What to leave behind.

    Raises:
        MeasurementError: A model fails under a runtime that it has a form for.
    """
    started = time.perf_counter()
    for candidate in candidates:
        if candidate.torch is not None:
            require_same_classes(candidate.torch, dataset, what=candidate.title)
    missing = _missing(candidates, settings)
    answers = _answers(candidates, settings, dataset)
    measured = [_measure(candidate, answers, base=base, dataset=dataset, task=task) for candidate in candidates]
    with artifact.folder_for(target.folder) as folder:
        timings, samples = _time_all(candidates, settings, base=base, dataset=dataset, scratch=folder)
        budgets = _budgets(settings, measured, timings, base=base, metric=task.primary)
        results = {
            "schema": SCHEMA,
            "run": target.folder.parent.name,
            "task": type(task).__name__.lower(),
            "metric": task.primary,
            "classes": list(dataset.classes),
            "base": base,
            "candidates": measured,
            "timings": timings,
            "budgets": budgets,
            "missing": missing,
        }
        (folder / "measurements.json").write_text(json.dumps(results, indent=1, allow_nan=False), encoding="utf-8")
        np.savez_compressed(folder / "samples.npz", allow_pickle=False, **samples)
        manifest = replace(
            target.manifest("measurements"),
            data=dataset.describe(),
            metrics={"budgets_met": all(budget["met"] for budget in budgets)},
            machine=machine.describe(),
            elapsed_s=time.perf_counter() - started,
        )
        return artifact.seal(folder, target.folder, manifest)


def _missing(candidates: Sequence[Candidate], settings: BenchSettings) -> list[dict[str, str]]:
    found = []
    for candidate in candidates:
        for runtime in settings.runtimes:
            if candidate.form_for(runtime) is None:
                why = "it has no network in PyTorch" if runtime.startswith("torch") else candidate.why_no_onnx
                found.append({"what": f"{candidate.title} on {runtime}", "reason": why})
        if not candidate.timed:
            reason = "it has the student's architecture, so the student's latency is its own"
            found.append({"what": f"latency of the {candidate.title.lower()}", "reason": reason})
    return found


def _runtime(name: str, *, threads: int) -> Runtime:
    runtime: Runtime = registry.find("runtimes", name).load()(threads=threads)
    return runtime


def _answers(
    candidates: Sequence[Candidate], settings: BenchSettings, dataset: Dataset
) -> dict[tuple[str, str], NDArray[np.float32]]:
    """Outputs on the whole test set, by role and runtime."""
    found = {}
    for candidate in candidates:
        for name in settings.runtimes:
            form = candidate.form_for(name)
            if form is not None:
                console.note(f"bench  {candidate.role} on {name}: accuracy on {len(dataset.test)} test samples")
                runtime = _runtime(name, threads=machine.usable_cores())
                try:
                    runtime.load(form)
                    found[candidate.role, name] = predict(runtime, dataset.test)
                finally:
                    runtime.close()
    return found


def _measure(
    candidate: Candidate,
    answers: Mapping[tuple[str, str], NDArray[np.float32]],
    *,
    base: str,
    dataset: Dataset,
    task: Task,
) -> dict[str, Any]:
    """Everything about a candidate that is not time."""
    labels = dataset.test.labels
    accuracy = []
    for (role, runtime), logits_NK in answers.items():
        if role != candidate.role:
            continue
        entry = evaluate(task, logits_NK, labels, classes=dataset.classes)
        reference = answers.get((base, runtime))
        confusion = task.confusion(logits_NK, labels, len(dataset.classes))
        accuracy.append(
            {
                "runtime": runtime,
                "split": "test",
                **entry,
                "agreement_with_teacher": None if reference is None else task.agreement(reference, logits_NK),
                "confusion": confusion.tolist(),
            }
        )
    params, macs = _complexity(candidate, dataset)
    return {
        "role": candidate.role,
        "title": candidate.title,
        "params": params,
        "macs": macs,
        "size_bytes": _sizes(candidate),
        "accuracy": accuracy,
    }


def _complexity(candidate: Candidate, dataset: Dataset) -> tuple[int | None, int | None]:
    if candidate.torch is not None:
        network = checkpoint.load(candidate.torch).network
        return inspection.count_parameters(network), inspection.count_macs(network, dataset.sample_shape)
    if candidate.onnx is not None:
        facts = inspection.inspect_onnx(_onnx_file(candidate.onnx))
        return facts.parameters, facts.macs
    return None, None


def _sizes(candidate: Candidate) -> dict[str, int]:
    sizes = {}
    if candidate.torch is not None:
        sizes["torch"] = _runtime("torch", threads=1).file_size(candidate.torch.path)
    if candidate.onnx is not None:
        sizes["onnx"] = _runtime("ort_cpu", threads=1).file_size(candidate.onnx)
    return sizes


def _onnx_file(form: Path) -> Path:
    return form / "model.onnx" if form.is_dir() else form


def _time_all(
    candidates: Sequence[Candidate], settings: BenchSettings, *, base: str, dataset: Dataset, scratch: Path
) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    inputs = scratch / "inputs.npy"
    np.save(inputs, dataset.test.fetch(np.arange(min(_INPUTS_KEPT, len(dataset.test)), dtype=np.int64)))
    timings: list[dict[str, Any]] = []
    samples: dict[str, NDArray[Any]] = {}
    timed = [candidate for candidate in candidates if candidate.timed]
    for profile_name in settings.profiles:
        profile = settings.profile_named(profile_name)
        contest = {
            (candidate.role, runtime): form
            for runtime in settings.runtimes
            for candidate in timed
            if (form := candidate.form_for(runtime)) is not None
        }
        console.note(f"bench  {profile_name}: {len(contest)} models, alternating in {settings.blocks} blocks")
        entries, taken = _contest(contest, profile, settings, inputs=inputs)
        for (role, runtime), entry in entries.items():
            name = f"{runtime}.{profile_name}.{role}"
            blocks = taken[role, runtime]
            samples[name] = np.concatenate(blocks)
            samples[f"{name}.block"] = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
            timings.append(
                {"role": role, "runtime": runtime, "profile": profile_name, **entry}
                | _speedups(role, runtime, taken, base=base)
            )
    inputs.unlink()
    return timings, samples


def _contest(
    contest: Mapping[tuple[str, str], Path], profile: ProfileSettings, settings: BenchSettings, *, inputs: Path
) -> tuple[dict[tuple[str, str], dict[str, Any]], dict[tuple[str, str], _Blocks]]:
    """Time every model of one profile against every other."""
    threads = min(profile.threads or machine.usable_cores(), machine.usable_cores())
    cpus = _usable_cpus()[:threads]
    with ExitStack() as stack:
        models: dict[tuple[str, str], IsolatedModel] = {}
        ready: dict[tuple[str, str], Ready] = {}
        steady: dict[tuple[str, str], bool] = {}
        for (role, runtime), form in contest.items():
            model = IsolatedModel(form, runtime=runtime, inputs=inputs, batch=profile.batch, threads=threads, cpus=cpus)
            stack.callback(model.close)
            ready[role, runtime] = model.start()
            models[role, runtime] = model
        for each, model in models.items():
            steady[each] = clock.warm_until_steady(model).steady
        by_name = {f"{role} on {runtime}": model for (role, runtime), model in models.items()}
        found = clock.time_alternating(
            by_name, blocks=settings.blocks, min_seconds=settings.min_seconds, min_samples=settings.min_samples
        )
        taken = {each: found[f"{each[0]} on {each[1]}"].blocks for each in models}
        entries = {
            each: _entry(taken[each], ready[each], model.peak_memory_mb(), steady[each], profile, threads)
            for each, model in models.items()
        }
    return entries, taken


def _usable_cpus() -> tuple[int, ...]:
    """Cores that this process may use, by number; none where the system does not say."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def _entry(
    blocks: _Blocks, ready: Ready, peak_memory_mb: float, steady: bool, profile: ProfileSettings, threads: int
) -> dict[str, Any]:
    summary = summarise(np.concatenate(blocks))
    if not math.isfinite(summary.p50_ms) or summary.p50_ms <= 0:
        raise MeasurementError(f"a median latency of {summary.p50_ms} ms cannot be", where="bench")
    return {
        "threads": threads,
        "batch": profile.batch,
        "samples": summary.count,
        "mean_ms": summary.mean_ms,
        "std_ms": summary.std_ms,
        "p50_ms": summary.p50_ms,
        "p90_ms": summary.p90_ms,
        "p99_ms": summary.p99_ms,
        "throughput_per_s": 1000 * profile.batch / summary.mean_ms,
        "load_ms": ready.load_ms,
        "first_ms": ready.first_ms,
        "peak_memory_mb": peak_memory_mb,
        "describe": dict(ready.describe),
        "steady": steady,
    }


def _speedups(
    role: str, runtime: str, taken: Mapping[tuple[str, str], _Blocks], *, base: str
) -> dict[str, dict[str, Any] | None]:
    """How much faster than the base on the same runtime, and than the base as it came (in PyTorch)."""

    def against(other: str) -> dict[str, Any] | None:
        if (base, other) not in taken or (role, runtime) == (base, other):
            return None
        interval: Interval = paired_speedup(taken[base, other], taken[role, runtime])
        return {"ratio": interval.ratio, "low": interval.low, "high": interval.high, "against": base}

    return {"speedup": against(runtime), "speedup_against_teacher_torch": against("torch")}


def _budgets(
    settings: BenchSettings,
    measured: Sequence[Mapping[str, Any]],
    timings: Sequence[Mapping[str, Any]],
    *,
    base: str,
    metric: str,
) -> list[dict[str, Any]]:
    """What the user will accept, against what the deployed student gives."""
    student = next((m for m in measured if m["role"] == "student"), measured[-1])
    teacher = next((m for m in measured if m["role"] == base), None)
    found = []

    def judge(budget: str, limit: float | None, value: float | None, unit: str) -> None:
        if limit is not None:
            met = value is not None and value <= limit
            found.append({"budget": budget, "limit": limit, "value": value, "unit": unit, "met": met})

    drop = None
    if teacher is not None and teacher is not student and teacher["accuracy"] and student["accuracy"]:
        drop = 100 * (_deployed(teacher)["metrics"][metric] - _deployed(student)["metrics"][metric])
    judge("max_drop", settings.max_drop, drop, "points")
    deployed = [
        t
        for t in timings
        if t["role"] == student["role"] and t["runtime"] != "torch" and t["profile"] == settings.profiles[0]
    ]
    judge("max_latency_ms", settings.max_latency_ms, deployed[0]["p50_ms"] if deployed else None, "ms")
    size = student["size_bytes"].get("onnx")
    judge("max_size_mb", settings.max_size_mb, None if size is None else size / 1e6, "MB")
    return found


def _deployed(candidate: Mapping[str, Any]) -> Mapping[str, Any]:
    """The accuracy entry of the form that will be deployed: the first that is not PyTorch, if there is one."""
    entries: list[Mapping[str, Any]] = candidate["accuracy"]
    return next((entry for entry in entries if entry["runtime"] != "torch"), entries[0])

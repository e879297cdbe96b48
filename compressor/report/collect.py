"""From a bench artifact to the facts of its report: read, check, join; no wording and no layout.

Not covered: judging the numbers (`headline.py`).
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from compressor import array_files, plain_json, sealed_json
from compressor.artifact import Artifact
from compressor.errors import ArtifactError, InputError
from compressor.files import read_bytes
from compressor.measure import majority
from compressor.measure.statistics import paired_difference
from compressor.recipe import is_as_written
from compressor.report import headline, lineage
from compressor.report.facts import (
    Accuracy,
    Budget,
    Candidate,
    ClassScore,
    CurvePoint,
    Device,
    Interference,
    Majority,
    Missing,
    Operator,
    OperatorTimes,
    Paired,
    ReliabilityBin,
    ReportData,
    Speedup,
    Taught,
    Timing,
    ToldOfClass,
    Worst,
    WorstSample,
    find_candidate,
)

_T = TypeVar("_T")

MEASUREMENTS_SCHEMA = 2

DEVICE_SCHEMA = 1

_AGAIN = "run compress bench again"
_RUN_IT_AGAIN = "run the pack's run.py there again"
_MOST_BYTES_OF_A_DEVICE = 64 * 2**20


def collect(bench: Artifact, *, devices: Sequence[Path] = ()) -> ReportData:
    """Join the measurements with everything recorded along the chain that led to them.

    Args:
        bench: The measurements.
        devices: `device.json` files that packs of this run have written on other machines.

    Raises:
        InputError: `bench` does not hold measurements.
        ArtifactError: The measurements are damaged, incomplete, or written by a newer version.
    """
    if bench.manifest.kind != "measurements":
        raise InputError(
            f"holds a '{bench.manifest.kind}' artifact; a report is made from measurements",
            where=str(bench.path),
            hint="compress bench",
        )
    raw = read_measurements(bench)
    measured = _measured(raw, _arrays(bench, "samples.npz"), where=str(bench.path))
    pictures = _arrays(bench, "pictures.npz").get("worst")
    artifacts, gone = lineage.chain(bench)
    taught = lineage.taught(artifacts)
    compared = "compared" in bench.manifest.settings
    candidates = tuple(_named(candidate, taught) for candidate in measured.candidates)
    run_folder = bench.path.resolve().parent
    command, recipe, changed = _reproduce(run_folder)
    there, elsewhere = _devices(bench, devices)
    return ReportData(
        run=measured.run,
        task=measured.task,
        metric=measured.metric,
        classes=measured.classes,
        base=measured.base,
        candidates=candidates,
        timings=measured.timings,
        budgets=measured.budgets,
        missing=(
            *measured.missing,
            *(() if compared else _unstated(measured, taught)),
            *_without_intervals(measured.timings),
            *gone,
            *elsewhere,
            *changed,
        ),
        headline=headline.judge(
            candidates,
            measured.timings,
            measured.budgets,
            metric=measured.metric,
            base=measured.base,
            taught=taught,
            compared=compared,
            distilled=any(each.manifest.stage == "distill" for each in artifacts),
            kept_for_size=not compared and lineage.kept_for_its_size(artifacts),
        ),
        links=tuple(lineage.link(artifact, run_folder=run_folder) for artifact in artifacts),
        decisions=lineage.decisions(artifacts),
        machine=bench.manifest.machine,
        versions=bench.manifest.versions,
        seed=bench.manifest.seed,
        key=bench.manifest.key,
        created=bench.manifest.created,
        command=command,
        recipe=recipe,
        curves=measured.curves,
        operators=measured.operators,
        interference=measured.interference,
        energy_source=raw.get("energy_source"),
        worst=None if measured.worst is None else replace(measured.worst, pictures=pictures),
        devices=there,
        folder=(Path(run_folder.parent.name) / run_folder.name).as_posix(),
        taught=taught,
        label_sets=bool(raw.get("label_sets", False)),
        of_numbers=bool(raw.get("of_numbers", False)),
        compared=compared,
        outdated=_outdated(bench),
    )


def _outdated(bench: Artifact) -> str:
    """That what was measured is no longer what lies in the run; empty where it is."""
    replaced = lineage.made_again(bench)
    if not replaced:
        return ""
    has = "has" if len(replaced) == 1 else "have"
    return f"These numbers are not of what the run holds now: {' and '.join(replaced)} {has} been made again since."


def _named(candidate: Candidate, taught: Taught | None) -> Candidate:
    """A teacher that is no single network says what it is: `Teacher (ensemble of 3)`."""
    if taught is None or candidate.title != "Teacher" or taught.kind == "network":
        return candidate
    return replace(candidate, title=f"Teacher ({taught.words})")


@dataclass(frozen=True)
class _Measured:
    """The content of `measurements.json`, checked."""

    run: str
    task: str
    metric: str
    classes: tuple[str, ...]
    base: str
    candidates: tuple[Candidate, ...]
    timings: tuple[Timing, ...]
    budgets: tuple[Budget, ...]
    missing: tuple[Missing, ...]
    curves: tuple[CurvePoint, ...]
    operators: tuple[OperatorTimes, ...]
    interference: tuple[Interference, ...]
    worst: Worst | None


def _measured(raw: Mapping[str, Any], samples: Mapping[str, NDArray[Any]], *, where: str) -> _Measured:
    try:
        return _Measured(
            run=str(raw["run"]),
            task=str(raw["task"]),
            metric=str(raw["metric"]),
            classes=tuple(str(name) for name in raw["classes"]),
            base=str(raw["base"]),
            candidates=tuple(_candidate(entry) for entry in raw["candidates"]),
            timings=tuple(_timing(entry, samples) for entry in raw["timings"]),
            budgets=tuple(_budget(entry) for entry in raw.get("budgets", ())),
            missing=tuple(Missing(str(entry["what"]), str(entry["reason"])) for entry in raw.get("missing", ())),
            curves=tuple(_curve_point(entry) for entry in raw.get("curves", ())),
            operators=tuple(_operators(entry) for entry in raw.get("operators", ())),
            interference=tuple(_interference(entry) for entry in raw.get("interference", ())),
            worst=_worst(raw.get("worst")),
        )
    except KeyError as fault:
        raise ArtifactError(f"measurements.json lacks {fault}", where=where, hint=_AGAIN) from fault
    except (TypeError, ValueError, AttributeError, IndexError) as fault:
        raise ArtifactError(
            f"measurements.json has a value of the wrong kind: {fault}", where=where, hint=_AGAIN
        ) from fault


def read_measurements(bench: Artifact) -> Mapping[str, Any]:
    """The content of `measurements.json`, as it is written.

    Raises:
        ArtifactError: It cannot be read, or is not one of ours.
    """
    file = bench.file("measurements.json")
    try:
        raw = plain_json.read(file, finite=True)
    except (OSError, ValueError) as fault:
        raise ArtifactError(f"measurements.json cannot be read: {fault}", where=str(bench.path), hint=_AGAIN) from fault
    if not isinstance(raw, dict) or not isinstance(raw.get("schema"), int):
        raise ArtifactError("measurements.json is not one of ours", where=str(bench.path), hint=_AGAIN)
    if raw["schema"] > MEASUREMENTS_SCHEMA:
        raise ArtifactError(
            f"measurements.json has schema {raw['schema']}, this version reads up to {MEASUREMENTS_SCHEMA}",
            where=str(bench.path),
            hint="pip install --upgrade compressor",
        )
    return raw


def _candidate(raw: Mapping[str, Any]) -> Candidate:
    return Candidate(
        role=str(raw["role"]),
        title=str(raw["title"]),
        params=_whole(raw.get("params")),
        macs=_whole(raw.get("macs")),
        size_bytes={form: int(size) for form, size in raw.get("size_bytes", {}).items() if size is not None},
        accuracy=tuple(accuracy_from(entry) for entry in raw.get("accuracy", ())),
    )


def accuracy_from(raw: Mapping[str, Any]) -> Accuracy:
    """What `measure.accuracy.evaluate` gives, with `runtime` and `split`, as a fact."""
    interval = raw.get("interval")
    return Accuracy(
        runtime=str(raw["runtime"]),
        split=str(raw["split"]),
        samples=_count(raw["samples"]),
        metrics={name: _number(value) for name, value in raw["metrics"].items() if _finite(value) is not None},
        interval=_bounds(interval) if interval else None,
        per_class=tuple(
            ClassScore(
                str(entry["name"]),
                _count(entry["samples"]),
                _finite(entry.get("accuracy")),
                _finite(entry.get("iou")),
            )
            for entry in raw.get("per_class", ())
        ),
        agreement_with_teacher=_finite(raw.get("agreement_with_teacher")),
        reliability=tuple(_made(ReliabilityBin, entry) for entry in raw.get("reliability", ())),
        paired=tuple(_made(Paired, entry) for entry in raw.get("paired", ())),
        confusion=_matrix(raw.get("confusion")),
        confusion_with_base=_matrix(raw.get("confusion_with_base")),
        sets_with_base=tuple(_made(ToldOfClass, entry) for entry in raw.get("sets_with_base", ())),
        tolerance={str(name): _number(value) for name, value in raw.get("tolerance", {}).items()},
        majority=_made(Majority, raw["majority"]) if raw.get("majority") else None,
    )


def as_trained(made: Artifact, *, beside: Artifact | None = None) -> Accuracy | None:
    """What the stage that made a network says of it on the test set; None where it says nothing.

    Args:
        made: The network.
        beside: Another that answered the same samples, to be paired with where both have kept which answers were right.
    """
    scored = made.manifest.metrics.get("test")
    if not scored:
        return None
    own = accuracy_from({"runtime": "torch", "split": "test", **scored})
    theirs = None if beside is None else _right_answers(beside, count=own.samples)
    right_N = _right_answers(made, count=own.samples)
    if beside is None or theirs is None or right_N is None:
        return own
    return replace(own, paired=(Paired(beside.manifest.role, **asdict(paired_difference(theirs, right_N))),))


def _right_answers(made: Artifact, *, count: int) -> NDArray[np.bool_] | None:
    kept = made.manifest.details.get("right", {}).get("test")
    return None if kept is None else majority.unpacked(kept, count=count)


def _timing(raw: Mapping[str, Any], samples: Mapping[str, NDArray[Any]]) -> Timing:
    key = f"{raw['runtime']}.{raw['profile']}.{raw['role']}"
    starts = int(raw.get("starts", 1))
    several = starts > 1  # older measurements hold intervals of a single start, within which they do not say much
    return Timing(
        role=str(raw["role"]),
        runtime=str(raw["runtime"]),
        profile=str(raw["profile"]),
        threads=_count(raw["threads"]),
        batch=_count(raw["batch"]),
        samples=_count(raw["samples"]),
        mean_ms=_positive(raw["mean_ms"], "mean_ms"),
        p50_ms=_positive(raw["p50_ms"], "p50_ms"),
        p90_ms=_positive(raw["p90_ms"], "p90_ms"),
        p99_ms=_finite(raw.get("p99_ms")),
        throughput_per_s=_positive(raw["throughput_per_s"], "throughput_per_s"),
        load_ms=_finite(raw.get("load_ms")),
        first_ms=_finite(raw.get("first_ms")),
        peak_memory_mb=_finite(raw.get("peak_memory_mb")),
        describe=_table(raw.get("describe", {}), "describe"),
        steady=bool(raw.get("steady", True)),
        speedup=_speedup(raw.get("speedup"), several=several),
        speedup_against_teacher_torch=_speedup(raw.get("speedup_against_teacher_torch"), several=several),
        samples_ms=tuple(samples[key].tolist()) if key in samples else (),
        blocks=tuple(samples[f"{key}.block"].tolist()) if f"{key}.block" in samples else (),
        p95_ms=_finite(raw.get("p95_ms")),
        p50_interval=_bounds(raw.get("p50_interval")) if several else None,
        p90_interval=_bounds(raw.get("p90_interval")) if several else None,
        memory_mb=_finite(raw.get("memory_mb")),
        library_memory_mb=_finite(raw.get("library_memory_mb")),
        millijoules=_finite(raw.get("millijoules")),
        spread=_finite(raw.get("spread")),
        starts=starts,
    )


def _curve_point(raw: Mapping[str, Any]) -> CurvePoint:
    return CurvePoint(
        role=str(raw["role"]),
        runtime=str(raw["runtime"]),
        profile=str(raw["profile"]),
        threads=_count(raw["threads"]),
        batch=_count(raw["batch"]),
        p50_ms=_positive(raw["p50_ms"], "p50_ms"),
        p90_ms=_positive(raw["p90_ms"], "p90_ms"),
        throughput_per_s=_positive(raw["throughput_per_s"], "throughput_per_s"),
    )


def _operators(raw: Mapping[str, Any]) -> OperatorTimes:
    listed = tuple(
        Operator(str(entry["name"]), str(entry["op"]), str(entry["provider"]), _number(entry["ms"]))
        for entry in raw["operators"]
    )
    return OperatorTimes(str(raw["role"]), str(raw["runtime"]), str(raw["profile"]), listed)


def _interference(raw: Mapping[str, Any]) -> Interference:
    return Interference(
        profile=str(raw["profile"]),
        spread=_number(raw["spread"]),
        other_load=_finite(raw.get("other_load")),
        stolen=_finite(raw.get("stolen")),
        frequency_mhz=_bounds(raw.get("frequency_mhz")),
        attempts=_count(raw.get("attempts", 1)),
        calm=bool(raw["calm"]),
    )


def _worst(raw: Mapping[str, Any] | None) -> Worst | None:
    if raw is None:
        return None
    samples = tuple(
        _made(
            WorstSample,
            {**entry, "numbers": tuple(map(tuple, entry.get("numbers", ()))), "miou": tuple(entry.get("miou", ()))},
        )
        for entry in raw["samples"]
    )
    return Worst(str(raw["role"]), str(raw["against"]), str(raw["runtime"]), samples)


def _devices(bench: Artifact, files: Sequence[Path]) -> tuple[tuple[Device, ...], tuple[Missing, ...]]:
    """What was measured elsewhere on the models of this run, and which devices measured others."""
    there, missing = [], []
    for file in files:
        device = read_device(file)
        others = other_models(bench, file)
        if others:
            why = f"it measured another {' and '.join(others)} than this run has now; pack it and measure there again"
            missing.append(Missing(f"the device {device.name}", why))
        else:
            there.append(device)
    return tuple(there), tuple(missing)


def other_models(bench: Artifact, file: Path) -> tuple[str, ...]:
    """Roles of which a device measured another file than the run holds, or that the run does not have.

    Raises:
        InputError: The device's file cannot be read, or is not one of ours.
    """
    found = []
    for role, sha256 in told_by(file)["models"].items():
        model = bench.standing_for(f"{role}-onnx")
        if model is None or model.manifest.files.get("model.onnx") != sha256:
            found.append(str(role))
    return tuple(found)


def read_device(file: Path) -> Device:
    """What a pack wrote on another machine.

    Raises:
        InputError: It cannot be read, or is not one of ours.
    """
    return device_in(_content_of(file), where=str(file))


def device_in(content: bytes, *, where: str) -> Device:
    """What a pack wrote on another machine, from the content of its file; all that is shown of it has been looked at.

    Raises:
        InputError: It is not one of ours.
    """
    raw = _told_in(content, where=where)
    try:
        device = Device(
            name=_text(raw["name"], "name"),
            created=_text(raw["created"], "created"),
            machine=_machine(raw["machine"]),
            versions={str(name): _text(version, "versions") for name, version in raw["versions"].items()},
            timings=tuple(_timing(entry, {}) for entry in raw["timings"]),
            accuracy={role: accuracy_from(entry) for role, entry in raw["accuracy"].items()},
            parity={role: {**told, "agreement": _number(told["agreement"])} for role, told in raw["parity"].items()},
            interference=tuple(_interference(entry) for entry in raw.get("interference", ())),
        )
        for timing in device.timings:  # what its summary says of each
            judged = device.accuracy[timing.role]
            _ = device.parity[timing.role], judged.metrics[_text(raw["accuracy"][timing.role]["primary"], "primary")]
    except KeyError as fault:
        raise InputError(f"not what a pack writes: it lacks {fault}", where=where, hint=_RUN_IT_AGAIN) from fault
    except (TypeError, ValueError, AttributeError, IndexError) as fault:
        raise InputError(f"not what a pack writes: {fault}", where=where, hint=_RUN_IT_AGAIN) from fault
    return device


def told_by(file: Path) -> Mapping[str, Any]:
    """What a device has written, as plain data.

    Raises:
        InputError: It cannot be read, is not one of ours, or was changed since.
    """
    return _told_in(_content_of(file), where=str(file))


def _machine(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is known of a device, as far as it is shown."""
    texts = {name: _text(raw[name], f"machine.{name}") for name in ("cpu", "architecture")}
    return {**raw, **texts, "isa": [_text(each, "machine.isa") for each in raw["isa"]]}


def _content_of(file: Path) -> bytes:
    try:
        return read_bytes(file, most_bytes=_MOST_BYTES_OF_A_DEVICE)
    except OSError as fault:
        raise InputError(f"cannot be read: {fault.strerror}", where=str(file), hint=_RUN_IT_AGAIN) from fault
    except ValueError as fault:
        raise InputError(f"not what a pack writes: {fault}", where=str(file), hint=_RUN_IT_AGAIN) from fault


def _told_in(content: bytes, *, where: str) -> Mapping[str, Any]:
    try:
        raw = sealed_json.read(content, required=False, finite=True)  # packs of earlier versions write none
        schema, _ = raw["schema"], raw["models"].items()
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise InputError(f"not what a pack writes: {fault}", where=where, hint=_RUN_IT_AGAIN) from fault
    if schema != DEVICE_SCHEMA:
        sentence = f"written in form {schema} by another version; this one reads form {DEVICE_SCHEMA}"
        raise InputError(sentence, where=where, hint="make the pack again with compress pack, and run it there")
    told: Mapping[str, Any] = raw
    return told


def _arrays(bench: Artifact, name: str) -> Mapping[str, NDArray[Any]]:
    if name not in bench.manifest.files:
        return {}
    try:
        return array_files.read(bench.file(name))
    except (OSError, ValueError) as fault:
        raise ArtifactError(f"{name} cannot be read: {fault}", where=str(bench.path), hint=_AGAIN) from fault


def _speedup(raw: Mapping[str, Any] | None, *, several: bool) -> Speedup | None:
    if raw is None:
        return None
    low, high = (_number(raw["low"]), _number(raw["high"])) if several else (None, None)
    return Speedup(_positive(raw["ratio"], "speedup"), low, high, _text(raw["against"], "against"))


def _budget(raw: Mapping[str, Any]) -> Budget:
    value = _finite(raw.get("value"))
    return Budget(
        str(raw["budget"]), _number(raw["limit"]), value, str(raw["unit"]), value is not None and bool(raw["met"])
    )


def _unstated(measured: _Measured, taught: Taught | None) -> tuple[Missing, ...]:
    """What a reader would look for in vain and the bench has not named."""
    named = " ".join(entry.what for entry in measured.missing).lower()
    found = []
    if "control" not in named and find_candidate(measured.candidates, "control") is None:
        reason = "no student was trained without the teacher, so nobody can say whether the teacher helped"
        found.append(Missing("the control", f"{reason}; set control = true in [distill]"))
    for role in ("teacher", "student"):
        candidate = find_candidate(measured.candidates, role)
        if role in named:
            continue
        if candidate is None:
            alone = role == "teacher" and taught is not None and taught.alone
            why = f"the student learnt without one ({taught.words})" if alone and taught else "it was not measured"
            found.append(Missing(f"the {role}", why))
        elif "onnx" not in candidate.size_bytes:
            found.append(Missing(f"the {role} as ONNX", "it was not exported, so it is measured in PyTorch alone"))
    if not measured.timings:
        found.append(Missing("latencies", "nothing was timed"))
    return tuple(found)


def _without_intervals(timings: Sequence[Timing]) -> tuple[Missing, ...]:
    once = dict.fromkeys(timing.profile for timing in timings if timing.starts < 2)
    if not once:
        return ()
    reason = "each process was started once, which says nothing of how the next start differs; --set bench.starts=5"
    return (Missing(f"intervals of latencies and speed-ups under {', '.join(once)}", reason),)


def _reproduce(run_folder: Path) -> tuple[str | None, str | None, tuple[Missing, ...]]:
    """The command that makes this run again and the text of its recipe, when the run keeps one that it has written."""
    for name in ("recipe.toml", "recipe.json"):
        file = run_folder / name
        if file.is_file():
            if name == "recipe.json" and not is_as_written(run_folder):
                why = f"{name} was changed after the run had written it, so it is not shown as the run's"
                return None, None, (Missing("the recipe", why),)
            place = Path(run_folder.parent.name) / run_folder.name / name
            return f"compress run {shlex.quote(place.as_posix())}", file.read_text(encoding="utf-8"), ()
    return None, None, ()


def _bounds(value: Any) -> tuple[float, float] | None:
    return None if value is None else (_number(value[0]), _number(value[1]))


def _matrix(value: Any) -> tuple[tuple[int, ...], ...] | None:
    return None if value is None else tuple(tuple(int(count) for count in row) for row in value)


def _made(kind: type[_T], entry: Mapping[str, Any]) -> _T:
    """A record of plain fields, each looked at by its annotation."""
    made = kind(**entry)
    for field in fields(made):  # type: ignore[arg-type]
        value = getattr(made, field.name)
        if field.type == "str":
            _text(value, field.name)
        elif field.type == "int":
            _count(value)
        elif field.type == "float":
            _number(value)
    return made


def _whole(value: Any) -> int | None:
    return None if value is None else _count(value)


def _finite(value: Any) -> float | None:
    """A number, or None for what JSON could not hold as one."""
    return None if value is None else _number(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{_shown(value)} is no number")
    return float(value)


def _positive(value: Any, name: str) -> float:
    if _number(value) <= 0:
        raise ValueError(f"{name} is {_shown(value)}, not above 0")
    return float(value)


def _count(value: Any) -> int:
    if _number(value) != int(value):
        raise ValueError(f"{_shown(value)} is no whole number")
    return int(value)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {_shown(value)}, not text")
    return value


def _table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {_shown(value)}, not a table")
    return value


def _shown(value: Any) -> str:
    return repr(value)[:40]

"""What a pack does on the device it was carried to: time its models there, judge their answers, and write it down.

This file and all that it imports run on Python 3.9 with NumPy and ONNX Runtime alone (`stages/pack.py` lists them).

A pack is a folder:

    pack.json     names, classes, profiles, and the SHA-256 of each model
    models/       ROLE.onnx
    samples.npz   `inputs.NAME`, `targets.NAME`, and `answers.ROLE.NAME`: what each model gave where the pack was made;
                  where an axis varies `timed.SIZES.NAME` too: what is timed at those sizes
    lib/          this code
    run.py        starts it
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor import array_files, artifact, places, plain_json, sealed_json
from compressor.errors import ArtifactError, CompressError, InputError
from compressor.files import replacing
from compressor.measure import machine, record, sizes, timings
from compressor.measure.accuracy import evaluate, judge_together, paired
from compressor.measure.contest import Entry, hold
from compressor.measure.parity import between
from compressor.plain_text import printable
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.scores import Metric
from compressor.tasks._contract import NumberTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compressor.tasks._contract import Task

RUNTIME = "ort_cpu"
_PACKED = {
    **dict.fromkeys(("run", "key", "task", "base"), str),
    **dict.fromkeys(("models", "profiles"), dict),
    **dict.fromkeys(("blocks", "min_samples", "attempts"), int),
    "classes": list,
}
_BATCH = 8  # samples answered at once: activations of hundreds do not fit into a small device


def main(pack: Path, arguments: Sequence[str] | None = None) -> int:
    """Measure a pack as its command line says; ends with 0, or 2 with a sentence on standard error."""
    parser = argparse.ArgumentParser(
        prog="run.py", description="Measure the models of this pack here, and write device.json."
    )
    parser.add_argument("--name", default=platform.node() or "device", help="what to call this device")
    parser.add_argument("--profiles", default="", help="comma between; by default those of the run")
    parser.add_argument("--seconds", type=float, default=2.0, help="timed seconds for each model and profile")
    parser.add_argument("--out", type=Path, default=pack / "device.json", help="where the result goes")
    parser.add_argument("--overwrite", action="store_true", help="replace a file at --out that is no result")
    given = parser.parse_args(arguments)
    try:
        _require_a_result_fits(given.out, seconds=given.seconds)
        packed = [pack / name for name in ("models", "lib", "pack.json", "samples.npz", "run.py", artifact.MANIFEST)]
        places.require_free(given.out, is_ours=is_result, where="--out", inputs=packed, overwrite=given.overwrite)
        found = measure(
            pack,
            name=given.name,
            profiles=[each.strip() for each in given.profiles.split(",") if each.strip()],
            seconds=given.seconds,
        )
    except CompressError as fault:
        where = f"{fault.where}: " if fault.where else ""
        told = f"error: {where}{fault.message}\n" + (f"  try: {fault.hint}\n" if fault.hint else "")
        sys.stderr.write(printable(told))
        return 2
    sys.stdout.write(printable(summary(found)) + "\n")
    try:
        with replacing(given.out) as written:
            written.write_text(
                sealed_json.text(plain_json.plain(record.device_json(found)), indent=1), encoding="utf-8"
            )
    except OSError as full:
        sys.stderr.write(printable(f"error: {given.out}: cannot be written: {full.strerror}\n"))
        return 2
    sys.stdout.write(printable(f"{given.out}\n"))
    return 0


def _require_a_result_fits(out: Path, *, seconds: float) -> None:
    """Find out before anything is measured that there is nowhere to put it, or no time to measure in."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"{seconds:g} is no span of time", where="--seconds", hint="--seconds 2")
    if out.is_dir():
        raise InputError("is a folder", where=str(out), hint=f"--out {out / 'device.json'}")
    if not os.access(out.parent, os.W_OK):
        problem = "cannot be written to" if out.parent.is_dir() else "is not there"
        raise InputError(problem, where=str(out.parent), hint="--out device.json")


def is_result(file: Path) -> bool:
    """Whether a file is what a pack has measured somewhere."""
    try:
        found = plain_json.read(file)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"schema", "pack", "models", "timings"} <= found.keys()


def measure(pack: Path, *, name: str, profiles: Sequence[str] = (), seconds: float = 2.0) -> record.Device:
    """Everything that a pack can find out here.

    Args:
        pack: The folder.
        name: Of this device.
        profiles: Names of those to measure under; all of the pack's when empty.
        seconds: About how long each model is timed under each.

    Raises:
        InputError: The pack is not whole, or has no such profile.
        CompressError: A model does not load or run here.
    """
    _require_whole(pack)
    told = _told(pack)
    files = {role: pack / "models" / f"{role}.onnx" for role in told["models"]}
    for role, file in files.items():
        if not file.is_file() or artifact.sha256(file) != told["models"][role]["sha256"]:
            raise InputError("is missing or not what was packed", where=str(file), hint="carry the pack here again")
    wanted = _conditions(told["profiles"], profiles)
    samples = _samples(pack / "samples.npz")
    accuracy, parity = _judged(told, files, samples)
    timed, interference = _timed(told, files, samples, wanted, seconds)
    return record.Device(
        name=name,
        run=told["run"],
        pack=told["key"],
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=machine.describe(),
        versions={
            "python": platform.python_version(),
            "numpy": np.__version__,
            "onnxruntime": str(OrtCpu().describe()["version"]),
        },
        models={role: entry["sha256"] for role, entry in told["models"].items()},
        timings=tuple(timed),
        interference=tuple(interference),
        accuracy=accuracy,
        parity=parity,
    )


def _conditions(packed: Mapping[str, Any], named: Sequence[str]) -> list[str]:
    """What is measured under: everything in the pack, or what is named; a profile stands for all of its sizes.

    Raises:
        InputError: The pack has no such profile.
    """
    found = []
    for each in named:
        these = [name for name, held in packed.items() if name in (each, sizes.condition(each, held.get("sizes", {})))]
        if not these:
            raise InputError(f"no profile '{each}' here", where="--profiles", hint=", ".join(packed))
        found += these
    return list(dict.fromkeys(found)) or list(packed)


def summary(found: record.Device) -> str:
    """The result as a few lines of text."""
    here = found.machine
    lines = [f"{found.name}: {here['cpu']} ({here['architecture']}; {', '.join(here['isa']) or 'no known features'})"]
    for each in found.timings:
        faster = each.speedup
        against = f"  {faster.ratio:.2f}x ({_interval(faster)})" if faster else ""
        judged, near = found.accuracy[each.role], found.parity[each.role]
        name = judged.primary
        shown = (judged.metric or Metric(name)).shown(judged.metrics[name])
        lines.append(
            f"  {each.profile:<8} {each.role:<10} p50 {each.p50_ms:.3g} ms  p90 {each.p90_ms:.3g} ms{against}"
            f"  {name} {shown} of {judged.samples}"
            f"  same answers as where it was packed: {100 * near['agreement']:.2f} %"
        )
    unlearned = [role for role, judged in found.accuracy.items() if judged.majority and not judged.majority.beaten]
    if unlearned:
        lines.append(f"  at chance on these samples: {', '.join(unlearned)} (no better than one answer to everything)")
    restless = [each.profile for each in found.interference if not each.calm]
    if restless:
        lines.append(f"  restless under {', '.join(restless)}: something else was at work, run it again")
    return "\n".join(lines)


def _interval(faster: record.Speedup) -> str:
    return "one start" if faster.low is None else f"{faster.low:.2f}-{faster.high:.2f}"


def _require_whole(pack: Path) -> None:
    """Refuse a pack of which what the result follows from has changed on the way.

    Raises:
        InputError: It has.
    """
    if not artifact.is_artifact(pack):
        return  # its manifest was left behind; each model has its hash in pack.json
    try:
        made = artifact.read(pack)
        for name in made.manifest.files:
            if name != "README.md" and not name.startswith("models/"):
                made.file(name)
    except ArtifactError as fault:
        raise InputError(fault.message, where=str(pack), hint="carry the pack here again") from fault


def _told(pack: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = plain_json.read(pack / "pack.json")
        lacking = [name for name, kind in _PACKED.items() if not isinstance(told.get(name), kind)]
        if lacking:
            raise ValueError(f"pack.json has no proper '{lacking[0]}'")
    except (OSError, ValueError, AttributeError) as fault:
        raise InputError(f"is no pack: {fault}", where=str(pack), hint="compress pack writes one") from fault
    return told


def _samples(file: Path) -> dict[str, NDArray[Any]]:
    try:
        return array_files.read(file)
    except (OSError, ValueError) as fault:
        raise InputError(f"cannot be read: {fault}", where=str(file), hint="carry the pack here again") from fault


def _judged(
    told: Mapping[str, Any], files: Mapping[str, Path], samples: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, record.Accuracy], dict[str, dict[str, Any]]]:
    """How good each model's answers are here, and how they differ from those where the pack was made."""
    task = _task(told)
    packed = Carried(_named("inputs", samples), _named("targets", samples))
    models = {role: OrtCpu() for role in files}
    base = told["base"]
    accuracy, parity = {}, {}
    try:
        for role, file in files.items():
            models[role].load(file)
        together = judge_together(task, models, packed, base=base, batch_size=_BATCH)
        for role, findings in together.findings.items():
            against = {base: together.findings[base]} if base in together.findings and role != base else {}
            tests = {other: paired(task, theirs, findings) for other, theirs in against.items()}
            accuracy[role] = replace(
                record.accuracy(evaluate(task, findings, classes=told["classes"]), runtime=RUNTIME),
                agreement_with_teacher=float(together.alike[role].mean()) if role in together.alike else None,
                paired=tuple(record.Paired(other, **test) for other, test in tests.items() if test is not None),
            )
            stored = _Stored(_named(f"answers.{role}", samples))
            parity[role] = asdict(between(stored, models[role], packed, task=task, judged=True, batch_size=_BATCH))
    finally:
        for model in models.values():
            model.close()
    return accuracy, parity


def _named(group: str, samples: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays of a pack that are called `group.NAME`, by that name.

    Raises:
        InputError: There are none.
    """
    found = {name[len(group) + 1 :]: array for name, array in samples.items() if name.startswith(f"{group}.")}
    if not found:
        raise InputError(f"holds no '{group}.'", where="samples.npz", hint="carry the pack here again")
    return found


def _timed(
    told: Mapping[str, Any],
    files: Mapping[str, Path],
    samples: Mapping[str, NDArray[Any]],
    profiles: Sequence[str],
    seconds: float,
) -> tuple[list[record.Timing], list[record.Interference]]:
    timed, interference = [], []
    with tempfile.TemporaryDirectory(prefix="compress-device-") as folder:
        kept = Path(folder) / "inputs.npz"
        for name in profiles:
            profile: Any = SimpleNamespace(**told["profiles"][name])
            at = getattr(profile, "sizes", {})
            inputs = _named(f"timed.{sizes.in_words(at)}" if at else "inputs", samples)
            np.savez(kept, **{name: array[:64] for name, array in inputs.items()})  # type: ignore[arg-type]
            outcome = hold(
                {role: Entry(file, RUNTIME) for role, file in files.items()},
                profile=profile,
                inputs=kept,
                blocks=told["blocks"],
                min_seconds=seconds,
                min_samples=told["min_samples"],
                attempts=told["attempts"],
                starts=told.get("starts", 1),
            )
            seen = outcome.interference
            interference.append(record.Interference(name, **asdict(seen), calm=seen.calm))
            taken = {(role, RUNTIME): found.timing.blocks for role, found in outcome.models.items()}
            for role, found in outcome.models.items():
                place = timings.Place(role, RUNTIME, name, at)
                timed.append(timings.timing(place, found, profile, taken=taken, base=told["base"]))
    return timed, interference


def _task(told: Mapping[str, Any]) -> Task:
    from compressor import registry

    scale = told.get("scale")
    made = registry.find("tasks", told["task"]).load()
    options = told.get("task_options", {})
    task: Task = made(**options) if scale is None else made(tolerance=scale["tolerance"])
    if scale is None or not isinstance(task, NumberTask):
        return task
    return task.for_spread(np.asarray(scale["spread"]))


class Carried:
    """The samples of a pack."""

    def __init__(self, inputs: Mapping[str, NDArray[Any]], targets: Mapping[str, NDArray[Any]]) -> None:
        self._inputs, self._targets = inputs, targets

    def __len__(self) -> int:
        return len(next(iter(self._inputs.values())))

    def fetch(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The inputs at `positions`, padded as they are carried."""
        return {name: array[positions] for name, array in self._inputs.items()}

    def fetch_targets(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Their targets."""
        return {name: array[positions] for name, array in self._targets.items()}


class _Stored:
    """What a model gave where the pack was made, as a model that is asked for the samples in their order."""

    def __init__(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        self._outputs, self._next = outputs, 0

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        first = self._next
        self._next += len(next(iter(inputs.values())))
        return {name: array[first : self._next] for name, array in self._outputs.items()}

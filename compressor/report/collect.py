"""From a bench artifact to the facts of its report: read, check, join; no wording and no layout.

Not covered: judging the numbers (`headline.py`).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressor import plain_json, plain_records
from compressor.artifact import Artifact
from compressor.errors import InputError
from compressor.measure import majority, recorded
from compressor.measure.record import Accuracy, Candidate, Device, Measurements, Missing, Paired, Timing
from compressor.measure.statistics import paired_difference
from compressor.recipe import is_as_written
from compressor.report import headline, lineage
from compressor.report.facts import ReportData, Taught, find_candidate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
    measured = recorded.measurements(bench)
    artifacts, gone = lineage.chain(bench)
    taught = lineage.taught(artifacts)
    compared = "compared" in bench.manifest.settings
    candidates = tuple(_named(candidate, taught) for candidate in measured.candidates)
    run_folder = bench.path.resolve().parent
    command, recipe, changed = _reproduce(run_folder)
    there, elsewhere = _devices(bench, devices)
    return ReportData(
        **{each.name: getattr(measured, each.name) for each in fields(measured)}
        | {
            "candidates": candidates,
            "missing": (
                *measured.missing,
                *(() if compared else _unstated(measured, taught)),
                *_without_intervals(measured.timings),
                *gone,
                *elsewhere,
                *changed,
            ),
        },
        headline=headline.judge(
            candidates,
            measured.timings,
            measured.budgets,
            metric=measured.primary,
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
        devices=there,
        folder=(Path(run_folder.parent.name) / run_folder.name).as_posix(),
        taught=taught,
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


def as_judged(found: Mapping[str, Any], *, runtime: str, split: str) -> Accuracy:
    """What `measure.accuracy.evaluate` gave, as it came or as a manifest keeps it."""
    return plain_records.read(Accuracy, plain_json.plain({"runtime": runtime, "split": split, **found}))


def as_trained(made: Artifact, *, beside: Artifact | None = None) -> Accuracy | None:
    """What the stage that made a network says of it on the test set; None where it says nothing.

    Args:
        made: The network.
        beside: Another that answered the same samples, to be paired with where both have kept which answers were right.
    """
    scored = made.manifest.metrics.get("test")
    if not scored:
        return None
    own = as_judged(scored, runtime="torch", split="test")
    theirs = None if beside is None else _right_answers(beside, count=own.samples)
    right_N = _right_answers(made, count=own.samples)
    if beside is None or theirs is None or right_N is None:
        return own
    return replace(own, paired=(Paired(beside.manifest.role, **asdict(paired_difference(theirs, right_N))),))


def _right_answers(made: Artifact, *, count: int) -> NDArray[np.bool_] | None:
    kept = made.manifest.details.get("right", {}).get("test")
    return None if kept is None else majority.unpacked(kept, count=count)


def _devices(bench: Artifact, files: Sequence[Path]) -> tuple[tuple[Device, ...], tuple[Missing, ...]]:
    """What was measured elsewhere on the models of this run, and which devices measured others."""
    there, missing = [], []
    for file in files:
        device = recorded.device(file)
        others = other_models(bench, device)
        if others:
            why = f"it measured another {' and '.join(others)} than this run has now; pack it and measure there again"
            missing.append(Missing(f"the device {device.name}", why))
        else:
            there.append(device)
    return tuple(there), tuple(missing)


def other_models(bench: Artifact, device: Device) -> tuple[str, ...]:
    """Roles of which a device measured another file than the run holds, or that the run does not have."""
    found = []
    for role, sha256 in device.models.items():
        model = bench.standing_for(f"{role}-onnx")
        if model is None or model.manifest.files.get("model.onnx") != sha256:
            found.append(role)
    return tuple(found)


def _unstated(measured: Measurements, taught: Taught | None) -> tuple[Missing, ...]:
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

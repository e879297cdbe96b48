"""A device's result is understood before it is kept, and whatever is wrong with it is one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compressor import api, artifact
from compressor.artifact import Artifact
from compressor.errors import ArtifactError, InputError
from compressor.measure import recorded
from compressor.report.collect import collect
from tests.small import with_manifest
from tests.unit.report.conftest import MACHINE, ROLES

if TYPE_CHECKING:
    from tests.unit.report.conftest import MakeRun


def told_of(bench: Artifact) -> dict[str, Any]:
    """What a device would write that measured the models of a run."""
    raw = json.loads(bench.file("measurements.json").read_text())
    onnx = {role: bench.standing_for(f"{role}-onnx") for role in ROLES}
    judged = {each["role"]: each["accuracy"][1] | {"primary": "accuracy"} for each in raw["candidates"]}
    return {
        "schema": 1,
        "name": "pi",
        "created": "2026-01-01",
        "machine": dict(MACHINE),
        "versions": {"numpy": "2.0"},
        "models": {role: made.manifest.files["model.onnx"] for role, made in onnx.items() if made is not None},
        "timings": [each for each in raw["timings"] if each["runtime"] == "ort_cpu"],
        "accuracy": judged,
        "parity": {role: {"agreement": 1.0} for role in ROLES},
        "interference": [],
    }


def written(folder: Path, content: object) -> Path:
    file = folder / "device.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def without_machine(told: dict[str, Any]) -> None:
    told["machine"] = None


def never_ending(told: dict[str, Any]) -> None:
    told["timings"][0]["p50_ms"] = float("inf")


def without_parity(told: dict[str, Any]) -> None:
    told["parity"] = {}


def in_no_time(told: dict[str, Any]) -> None:
    told["timings"][0]["p90_ms"] = 0


def in_words(told: dict[str, Any]) -> None:
    told["timings"][0]["p50_ms"] = "inf"


def of_other_features(told: dict[str, Any]) -> None:
    told["machine"]["isa"] = [{}]


CHANGES = {
    without_machine: "not what a pack writes",
    never_ending: r"a number that is not finite \(inf\)",
    without_parity: "parity lacks 'teacher'",
    in_no_time: r"timings\[0\].p90_ms is 0, not above 0",
    in_words: r"timings\[0\].p50_ms is 'inf', not a number",
    of_other_features: "machine.isa is {}, not text",
}


def test_what_a_device_writes_is_read(make_run: MakeRun, tmp_path: Path) -> None:
    device = recorded.device(written(tmp_path, told_of(make_run())))

    assert (device.name, device.machine["cpu"]) == ("pi", MACHINE["cpu"])
    assert len(device.timings) == 6


@pytest.mark.parametrize(("change", "said"), CHANGES.items(), ids=[each.__name__ for each in CHANGES])
def test_a_damaged_result_is_not_kept_over_a_good_one(
    make_run: MakeRun, tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    bench = make_run()
    told = told_of(bench)
    api.report(bench.path.parent, devices=[written(tmp_path, told)], destination=tmp_path / "out")
    kept = bench.path.parent / "devices" / "pi.json"
    good = kept.read_bytes()
    change(told)

    with pytest.raises(InputError, match=said):
        api.report(bench.path.parent, devices=[written(tmp_path, told)], destination=tmp_path / "out")

    assert kept.read_bytes() == good


@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 5000, '{"schema": 1}', "[]", "\\"])
def test_a_file_that_is_no_result_is_refused_and_not_kept(make_run: MakeRun, tmp_path: Path, content: str) -> None:
    bench = make_run()

    with pytest.raises(InputError, match="not what a pack writes"):
        api.report(bench.path.parent, devices=[written(tmp_path, content)], destination=tmp_path / "out")

    assert not (bench.path.parent / "devices").exists()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:300], "samples.npz cannot be read"),
        (lambda content: b"", "samples.npz cannot be read: no NumPy archive"),
        (lambda content: content[:200] + b"\xff" * 40 + content[240:], "samples.npz cannot be read"),
    ],
)
def test_damaged_samples_are_one_sentence(make_run: MakeRun, damage: Callable[[bytes], bytes], said: str) -> None:
    bench = make_run()
    file = bench.path / "samples.npz"
    file.write_bytes(damage(file.read_bytes()))
    with_manifest(bench.path, lambda raw: raw["files"].update({"samples.npz": artifact.sha256(file)}))

    with pytest.raises(ArtifactError, match=said):
        collect(artifact.read(bench.path))

"""Pack models with what measures them into one small folder, to be carried to a device that has no compress.

What goes along of the package is listed in `CARRIED`; it runs on Python 3.9 with NumPy and ONNX Runtime alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor import artifact, places
from compressor.artifact import MANIFEST, Artifact, Target
from compressor.data.samples import Dataset
from compressor.errors import ArtifactError, InputError
from compressor.files import replacing
from compressor.inputs._contract import kind_of
from compressor.measure import machine, sizes
from compressor.measure.accuracy import predict
from compressor.measure.on_device import Carried
from compressor.recipe import BenchSettings
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.tasks._contract import NumberTask, Task

SCHEMA = 2
CARRIED = (
    "__init__.py",
    "array_files.py",
    "artifact.py",
    "errors.py",
    "external_data.py",
    "files.py",
    "label_sets.py",
    "places.py",
    "plain_json.py",
    "plain_records.py",
    "plain_text.py",
    "registry.py",
    "scores.py",
    "sealed_json.py",
    "tensors.py",
    "trust.py",
    "measure/__init__.py",
    "measure/accuracy.py",
    "measure/clock.py",
    "measure/conditions.py",
    "measure/contest.py",
    "measure/energy.py",
    "measure/interference.py",
    "measure/isolated.py",
    "measure/limits.py",
    "measure/machine.py",
    "measure/majority.py",
    "measure/memory.py",
    "measure/on_device.py",
    "measure/parity.py",
    "measure/record.py",
    "measure/sizes.py",
    "measure/statistics.py",
    "measure/timings.py",
    "measure/worker.py",
    "runtimes/__init__.py",
    "runtimes/_contract.py",
    "runtimes/_onnx_runtime.py",
    "runtimes/ort_cpu.py",
    "tasks/__init__.py",
    "tasks/_calibration.py",
    "tasks/_contract.py",
    "tasks/_lost.py",
    "tasks/_smoothing.py",
)
"""What of the package runs on a device, beside the file of the task."""

_TIMED = 64  # samples of each size
_PACKAGE = Path(__file__).parents[1]
_README = """# {run}, packed

On the device (Linux or macOS), with Python 3.9 or later:

    python3 -m pip install numpy onnxruntime
    python3 run.py

It takes about a minute, prints what it found and writes `device.json`. Take that back, and then:

    compress report runs/{run} --add device.json
"""


def pack(
    models: Mapping[str, Artifact],
    settings: BenchSettings,
    *,
    base: str,
    samples: int,
    dataset: Dataset,
    task: Task,
    task_name: str,
    target: Target,
) -> Artifact:
    """Write the pack.

    Args:
        models: ONNX artifacts by role.
        settings: Profiles and how long to time.
        base: Role that the others are held against.
        samples: How many test samples go along, spread over the whole set.
        dataset: Where they come from.
        task: What outputs mean.
        task_name: Its name in its family.
        target: What to leave behind.

    Raises:
        InputError: The task is not one of the package's: its file may need what is not on the device.
    """
    started = time.perf_counter()
    task_file = f"tasks/{task_name.replace('-', '_')}.py"
    if not (_PACKAGE / task_file).is_file():
        raise InputError(
            f"the task '{task_name}' cannot be carried", where="task.name", hint="use one of compress list tasks"
        )
    positions = _spread(len(dataset.test), samples)
    inputs, targets = dataset.test.fetch(positions), dataset.test.fetch_targets(positions)
    carried_samples = Carried(inputs, targets)
    timed_at = sizes.timed(settings.shapes, dataset.test)
    with artifact.folder_for(target.folder) as folder:
        (folder / "models").mkdir()
        answers: dict[str, NDArray[Any]] = {}
        carried = {}
        for role, model in models.items():
            file = folder / "models" / f"{role}.onnx"
            shutil.copyfile(model.file("model.onnx"), file)
            _require_alone(model)
            answers |= {f"answers.{role}.{name}": rows for name, rows in _answers(file, carried_samples).items()}
            carried[role] = {"title": role.capitalize(), "sha256": artifact.sha256(file), "bytes": file.stat().st_size}
        np.savez_compressed(
            folder / "samples.npz",
            allow_pickle=False,
            **{f"inputs.{name}": array for name, array in inputs.items()},
            **{f"targets.{name}": array for name, array in targets.items()},
            **_timed_inputs(dataset, timed_at),
            **answers,
        )
        (folder / "pack.json").write_text(
            json.dumps(
                {
                    "schema": SCHEMA,
                    "run": target.folder.parent.name,
                    "key": target.key,
                    "task": task_name,
                    "scale": _scale(task),
                    "classes": list(dataset.classes),
                    "base": base,
                    "models": carried,
                    "profiles": _profiles(settings, timed_at),
                    "blocks": settings.blocks,
                    "min_samples": settings.min_samples,
                    "attempts": settings.attempts,
                    "starts": settings.starts,
                },
                indent=1,
            ),
            encoding="utf-8",
        )
        _carry_code(folder, (*CARRIED, task_file))
        (folder / "README.md").write_text(
            _README.format(run=target.folder.parent.name) + "".join(_guides(dataset)), encoding="utf-8"
        )
        dataset.put_files(folder)
        manifest = replace(
            target.manifest("pack"),
            data=dataset.describe(),
            details={"models": carried, "samples": len(positions), "size_bytes": _size(folder)},
            machine=machine.describe(),
            elapsed_s=time.perf_counter() - started,
        )
        return artifact.seal(folder, target.folder, manifest)


def require_zip_fits(archive: Path, *, overwrite: bool) -> None:
    """Refuse a place where something else stands than a pack as it was zipped here.

    Raises:
        NotOursError: It does.
    """
    places.require_free(archive, is_ours=_is_zipped_pack, where="--zip", overwrite=overwrite)


def zip_beside(made: Artifact, *, overwrite: bool) -> Path:
    """Write a pack as one file beside it: what it lists, and nothing that lies in the folder since.

    Raises:
        NotOursError: Something else stands there.
        ArtifactError: The archive cannot be written.
    """
    archive = made.path.with_name(f"{made.path.name}.zip")
    require_zip_fits(archive, overwrite=overwrite)
    try:
        with (
            replacing(archive) as written,
            zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as packed,
        ):
            for name in (*sorted(made.manifest.files), MANIFEST):
                packed.write(made.path / name, f"{made.path.name}/{name}")
    except OSError as fault:
        raise ArtifactError(f"cannot be written: {fault.strerror or fault}", where=str(archive)) from fault
    return archive


def _is_zipped_pack(archive: Path) -> bool:
    """Whether an archive holds one pack, every file of it as its manifest lists it, and nothing else."""
    try:
        with zipfile.ZipFile(archive) as packed:
            manifests = [name for name in packed.namelist() if name.count("/") == 1 and name.endswith(f"/{MANIFEST}")]
            if len(manifests) != 1:
                return False
            told = json.loads(packed.read(manifests[0]))
            folder = manifests[0].removesuffix(MANIFEST)
            listed = {f"{folder}{name}": digest for name, digest in told["files"].items()}
            held = {name for name in packed.namelist() if not name.endswith("/")}
            return (
                told["kind"] == "pack"
                and held == {*listed, manifests[0]}
                and all(_digest_in(packed, name) == digest for name, digest in listed.items())
            )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return False


def _guides(dataset: Dataset) -> Iterable[str]:
    """How inputs are made of what a user has, where files travel along that make them."""
    return dict.fromkeys(kind_of(spec).guide for spec in dataset.inputs) if dataset.files else ()


def _scale(task: Task) -> dict[str, Any] | None:
    """What a task that tells numbers knows of the training data, which is not there."""
    if not isinstance(task, NumberTask) or task.spreads is None:
        return None
    return {"tolerance": task.tolerance, "spread": task.spreads.tolist()}


def _timed_inputs(dataset: Dataset, timed_at: Sequence[Mapping[str, int]]) -> dict[str, NDArray[Any]]:
    """Samples of each size that is timed, where an axis varies; else those that are judged are timed as well."""
    return {
        f"timed.{sizes.in_words(at)}.{name}": array
        for at in timed_at
        if at
        for name, array in sizes.for_timing(dataset.test, at, most=_TIMED).items()
    }


def _profiles(settings: BenchSettings, timed_at: Sequence[Mapping[str, int]]) -> dict[str, dict[str, Any]]:
    """The conditions of each profile that ONNX Runtime on a CPU can have, at each size that is timed."""
    found: dict[str, dict[str, Any]] = {}
    for name in settings.profiles:
        profile = settings.profile_named(name)
        if not profile.runtimes or "ort_cpu" in profile.runtimes:
            told = profile.model_dump(mode="json")
            kept = {key: value for key, value in told.items() if not key.startswith(("curve_", "runtimes"))}
            found |= {sizes.condition(name, at): {**kept, **({"sizes": dict(at)} if at else {})} for at in timed_at}
    return found


def _spread(available: int, wanted: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, available - 1, min(wanted, available)).astype(np.int64))


def _answers(file: Path, samples: Carried) -> dict[str, NDArray[Any]]:
    """What a model predicts for the samples as they are carried, padded alike."""
    runtime = OrtCpu()
    runtime.load(file)
    try:
        return predict(runtime, samples)
    finally:
        runtime.close()


def _require_alone(model: Artifact) -> None:
    beside = [name for name in model.manifest.files if name != "model.onnx" and name.startswith("model.onnx")]
    if beside:
        raise InputError(
            f"keeps its weights beside it ({beside[0]}), which a pack does not carry", where=str(model.path)
        )


def _carry_code(folder: Path, files: Sequence[str]) -> None:
    for name in files:
        place = folder / "lib" / "compressor" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_PACKAGE / name, place)
    shutil.copyfile(_PACKAGE / "measure" / "run_pack.py", folder / "run.py")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _digest_in(packed: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with packed.open(name) as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()

"""A small real project for tests: four classes of 8×8 pictures that a tiny network learns in seconds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressor import artifact, sealed_json
from compressor.artifact import Artifact
from compressor.cli import main as command_line

TEACHER = """
import torch
from torch import nn

def build(num_classes: int, in_channels: int = 1, width: int = 16) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.1), nn.Linear(width * 16, num_classes),
    )
"""

STUDENT = TEACHER.replace("width: int = 16", "width: int = 4")


QUICK_BENCH = {
    "profiles": ["edge"],
    "runtimes": ["ort_cpu"],
    "min_seconds": 0.05,
    "min_samples": 20,
    "blocks": 5,
    "starts": 1,
    "attempts": 1,
    "operators": False,
}
"""Settings of `[bench]` for a test that is about something else than what they measure."""


def write_project(folder: Path) -> Path:
    """Write data.npz, teacher.py and student.py into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(7)
    x_train, y_train = _pictures(generator, 256)
    x_test, y_test = _pictures(generator, 96)
    np.savez(
        folder / "data.npz",
        x_train=x_train,
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        classes=np.array(["north-west", "north-east", "south-west", "south-east"]),
    )
    (folder / "teacher.py").write_text(TEACHER, encoding="utf-8")
    (folder / "student.py").write_text(STUDENT, encoding="utf-8")
    return folder


def recipe(folder: Path, **sections: Any) -> dict[str, Any]:
    """A recipe over the small project; `sections` replace its own."""
    raw: dict[str, Any] = {
        "name": "small",
        "runs": str(folder / "runs"),
        "data": {"source": f"npz:{folder / 'data.npz'}", "views": {"crop": 1, "flip": False}},
        "teacher": {"model": str(folder / "teacher.py")},
        "student": {"model": str(folder / "student.py")},
        "train": {"epochs": 4, "batch_size": 32, "lr": 0.01},
        "distill": {"epochs": 4, "batch_size": 32, "lr": 0.01, "control": True},
        "bench": {
            "profiles": ["edge"],
            "min_seconds": 0.05,
            "min_samples": 40,
            "blocks": 5,
            "attempts": 1,
            "starts": 1,
        },
    }
    return raw | sections


def with_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The artifact in `folder` with a changed manifest whose checksum fits, as whoever tampers would leave it."""
    file = folder / artifact.MANIFEST
    raw = sealed_json.read(file.read_text(encoding="utf-8"))
    change(raw)
    file.write_text(sealed_json.text(raw), encoding="utf-8")
    return folder


def measured_elsewhere(pack: Artifact, folder: Path) -> dict[str, Any]:
    """What a pack writes that was carried into `folder` and run there, for as short as it can; without its checksum."""
    carried = Path(shutil.copytree(pack.path, folder / "pack"))
    command = [sys.executable, str(carried / "run.py"), "--seconds", "0.05", "--profiles", "edge"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return sealed_json.read((carried / "device.json").read_text(encoding="utf-8"))


def _pictures(generator: np.random.Generator, count: int) -> tuple[Any, Any]:
    labels = np.arange(count) % 4
    pictures = generator.integers(0, 120, (count, 1, 8, 8))
    for picture, label in zip(pictures, labels, strict=True):
        row, column = divmod(int(label), 2)
        picture[0, 4 * row + 1 : 4 * row + 3, 4 * column + 1 : 4 * column + 3] += 130
    return pictures.astype(np.uint8), labels.astype(np.int64)


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of a command line."""
    monkeypatch.setattr("sys.argv", ["compress", *words])
    try:
        command_line.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0

"""A training of which nobody states how long it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor import api
from tests.small import write_project


def test_what_is_chosen_is_told_kept_and_part_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(write_project(tmp_path))
    monkeypatch.setenv("COMPRESS_HOME", str(tmp_path / "home"))
    chosen = api.train("student.py", data="npz:data.npz", name="s", options={"epochs": 2})
    told = capsys.readouterr().err
    again = api.train("student.py", data="npz:data.npz", name="s", options={"epochs": 2, "batch_size": 16, "lr": 1e-3})

    assert "teacher: adamw, peak lr 0.001, batch 16, 2 epochs of 14 steps, 28 in all; these are few" in told
    assert chosen.manifest.settings["training"]["batch_size"] == 16
    assert ("batch_size", "16") in {(decision.what, decision.choice) for decision in chosen.manifest.decisions}
    assert again.manifest.key == chosen.manifest.key
    assert "train: unchanged" in capsys.readouterr().err


def test_a_student_and_its_control_are_given_the_same_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_project(tmp_path))
    monkeypatch.setenv("COMPRESS_HOME", str(tmp_path / "home"))
    teacher = api.train("teacher.py", data="npz:data.npz", name="s", options={"epochs": 1})
    student = api.distill(
        teacher.path, "student.py", data="npz:data.npz", name="s", options={"epochs": 1}, control=True
    )
    control = api.artifact.read(tmp_path / "runs" / "s" / "control")

    assert api.pipeline.is_control_of(control, student)
    assert control.manifest.settings["training"]["batch_size"] == 16

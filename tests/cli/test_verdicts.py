"""What `train`, `distill`, `evaluate` and `bench` say of networks that have learned nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.small import TEACHER, typed

BLIND = """
import torch
from torch import nn

class Blind(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layer = nn.Linear(1, num_classes)

    def forward(self, inputs):
        return self.layer(torch.zeros_like(inputs).flatten(1)[:, :1])

def build(num_classes: int, in_channels: int = 1) -> nn.Module:
    return Blind(num_classes)
"""
QUICK = {"profiles": ["edge"], "runtimes": ["ort_cpu"], "min_seconds": 0.05, "min_samples": 20, "blocks": 5}
ONCE = {"attempts": 1, "starts": 1, "operators": "false"}
SHORT = ["--epochs", "1", "--batch-size", "32"]


def stated(section: str, values: dict[str, Any]) -> list[str]:
    """Settings as a command line has them."""
    return [word for name, value in values.items() for word in ("--set", f"{section}.{name}={value}")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kinds of pictures, of which one is a little more common, and a network that does not look at them."""
    made = tmp_path_factory.mktemp("blind")
    generator = np.random.default_rng(0)
    labels = {"train": (generator.random(120) < 0.45).astype(int), "test": np.repeat([0, 1], [83, 70])}
    pictures = {name: generator.integers(0, 255, (len(y), 1, 8, 8)).astype(np.uint8) for name, y in labels.items()}
    arrays = {f"{axis}_{name}": part[name] for axis, part in (("x", pictures), ("y", labels)) for name in labels}
    np.savez(made / "data.npz", classes=np.array(["cat", "dog"]), **arrays)
    (made / "net.py").write_text(BLIND, encoding="utf-8")
    (made / "teacher.py").write_text(TEACHER, encoding="utf-8")
    return made


def test_networks_that_learned_nothing_are_called_so_and_no_teacher_is_praised(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COMPRESS_HOME", str(folder / "home"))
    train = ("train", "--model", "net.py", "--data", "npz:data.npz", "--name", "b", *SHORT)
    assert typed(monkeypatch, *train) == 0
    trained = capsys.readouterr().out
    distill = ("distill", "--teacher", "runs/b/train", "--student", "net.py", "--data", "npz:data.npz")
    assert typed(monkeypatch, *distill, "--name", "b", "--control", *SHORT) == 0
    distilled = capsys.readouterr().out
    assert typed(monkeypatch, "evaluate", "runs/b/distill") == 0
    evaluated = capsys.readouterr().out
    assert typed(monkeypatch, "bench", "runs/b", *stated("bench", QUICK | ONCE)) == 0
    benched = capsys.readouterr().out

    assert "The teacher is at chance" in trained
    assert "accuracy on 153 test samples, where always answering 'cat' reaches 54.25 %" in trained
    assert "It is at chance" in evaluated
    for said in (distilled, benched):
        assert "Whether the teacher helped cannot be told" in said
        assert "and neither is shown to be better than chance" in said
        for role in ("teacher", "control", "student"):
            assert f"The {role} is at chance" in said
        assert "Look at the learning rate" in said
    gains = [next(line for line in text.splitlines() if line.startswith("Whether")) for text in (distilled, benched)]
    assert gains[0] == gains[1], "they judge by one function"
    assert "in the one start that was timed" in benched

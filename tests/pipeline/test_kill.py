"""Kill it anywhere: the next run goes on and ends with the same numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.small import recipe, write_project

EPOCHS = 12


def command(project: Path, runs: str) -> list[str]:
    raw = recipe(project, runs=str(project / runs), stages=["train"])
    raw["train"]["epochs"] = EPOCHS
    file = project / f"{runs}.json"
    file.write_text(json.dumps(raw), encoding="utf-8")
    return [sys.executable, "-m", "compressor", "run", str(file)]


def finished_epochs(state: Path) -> int:
    try:
        return int(json.loads((state / "state.json").read_text(encoding="utf-8"))["epoch"])
    except (FileNotFoundError, json.JSONDecodeError):
        return 0


def start_and_stop(line: list[str], state: Path, *, number: int, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Start a run, and send it a signal as soon as it has kept its second epoch."""
    process = subprocess.Popen(line, cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while finished_epochs(state) < 2 and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(line, process.returncode, out, err)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    project = write_project(tmp_path_factory.mktemp("kill"))
    environment = {**os.environ, "COMPRESS_HOME": str(project / "home")}
    subprocess.run(command(project, "whole"), check=True, capture_output=True, env=environment, cwd=project)
    return project


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGKILL, -9), (signal.SIGTERM, 130), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_a_killed_run_ends_with_the_same_weights_bit_for_bit(uninterrupted, number, code):
    project = uninterrupted
    runs = f"killed{int(number)}"
    line = command(project, runs)
    state = project / runs / "small" / ".train.state"
    stopped = start_and_stop(line, state, number=number, cwd=project)
    assert stopped.returncode == code, stopped.stderr
    if code == 130:  # it had time to say so, and the line that goes on
        assert "stopped" in stopped.stderr
        assert f"compress run {project / runs}.json" in stopped.stderr
    assert not (project / runs / "small" / "train").exists()
    continued = subprocess.run(line, check=True, capture_output=True, text=True, cwd=project)
    assert "goes on at epoch" in continued.stderr
    whole = load_file(project / "whole" / "small" / "train" / "weights.safetensors")
    again = load_file(project / runs / "small" / "train" / "weights.safetensors")
    assert whole.keys() == again.keys()
    assert all((whole[name] == again[name]).all() for name in whole)
    assert not state.exists()

"""Two real processes under the launcher do what one does, and end and go on as one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.small import recipe, write_project

TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
EPOCHS = 12


# Dropout differs between processes. A bias in front of a BatchNorm has a gradient of rounding errors alone, which Adam
# scales up to whole steps: it wanders, without effect on the network's answers, and differently for each order of sums.
# An empty batch cannot be flattened by `reshape(B, -1)`, as many hand-written networks do.
COMPARABLE = {"nn.Dropout(0.1)": "nn.Identity()", "padding=1)": "padding=1, bias=False)", "nn.Flatten()": "Flat()"}
FLAT = """
class Flat(nn.Module):
    def forward(self, features):
        return features.reshape(features.size(0), -1)
"""
NUM_VAL = 513  # one more than an evaluation takes at once, so that a process has none of the last batch


class Project:
    """The small project with networks that train to comparable weights, and runs of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = write_project(folder)
        arrays = dict(np.load(folder / "data.npz"))
        again = np.arange(NUM_VAL) % len(arrays["x_test"])
        np.savez(folder / "data.npz", x_val=arrays["x_test"][again], y_val=arrays["y_test"][again], **arrays)
        for name in ("teacher.py", "student.py"):
            file = folder / name
            text = file.read_text(encoding="utf-8")
            for old, new in COMPARABLE.items():
                assert old in text
                text = text.replace(old, new)
            file.write_text(text + FLAT, encoding="utf-8")

    def start(self, name: str, *, processes: int, **sections: Any) -> subprocess.Popen[str]:
        """Start the command; equal calls are the same command."""
        raw = recipe(self.folder, name=name, stages=["train", "distill"], **sections)
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(raw), encoding="utf-8")
        home = {"COMPRESS_HOME": str(self.folder / "home"), "OMP_NUM_THREADS": "1"}
        launcher = TWO if processes == 2 else ()
        return subprocess.Popen(
            [sys.executable, *launcher, "-m", "compressor", "run", str(file)],
            cwd=self.folder,
            env={**os.environ, **home},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, name: str, *, processes: int, **sections: Any) -> subprocess.CompletedProcess[str]:
        """Run the command to its end, which must be a good one."""
        done = ended(self.start(name, processes=processes, **sections))
        assert done.returncode == 0, done.stderr
        return done

    def manifest(self, name: str, link: str) -> dict[str, Any]:
        file = self.folder / "runs" / name / link / "manifest.json"
        manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return manifest

    def weights(self, name: str, link: str) -> dict[str, Any]:
        return load_file(self.folder / "runs" / name / link / "weights.safetensors")

    def state(self, name: str, link: str) -> Path:
        return self.folder / "runs" / name / f".{link}.state"


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def finished_epochs(state: Path) -> int:
    try:
        return int(json.loads((state / "state.json").read_text(encoding="utf-8"))["epoch"])
    except (FileNotFoundError, json.JSONDecodeError):
        return 0


def wait_for_epochs(process: subprocess.Popen[str], state: Path, epochs: int) -> None:
    while finished_epochs(state) < epochs:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)


def pid_of(launcher: subprocess.Popen[str], *, rank: int) -> int:
    (children,) = Path(f"/proc/{launcher.pid}/task").glob(f"{launcher.pid}/children")
    for pid in map(int, children.read_text().split()):
        if f"RANK={rank}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return pid
    raise AssertionError(f"the launcher has no child of rank {rank}")


def distilling(project: Project, **settings: Any) -> dict[str, Any]:
    """Sections that distil from the teacher that two processes have trained, from views that it has answered."""
    raw = recipe(project.folder)
    losses = [{"name": "kd", "temperature": 2.0}]
    return {
        "data": counted(project),
        "teacher": {"model": str(project.folder / "runs" / "two" / "train")},
        "train": None,
        "distill": raw["distill"] | {"control": False, "epochs": EPOCHS, "batch_size": 16, "losses": losses} | settings,
    }


def counted(project: Project) -> dict[str, Any]:
    data: dict[str, Any] = recipe(project.folder)["data"]
    return data | {"views": data["views"] | {"count": 2}}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("processes"))


@pytest.fixture(scope="module")
def both(project):
    """The same two links, by one process and by two; what two have printed."""
    short = {"epochs": 2, "batch_size": 32, "lr": 0.01}
    sections = {"data": counted(project), "train": short, "distill": short | {"control": False}}
    project.run("one", processes=1, **sections)
    return project.run("two", processes=2, **sections)


@pytest.fixture(scope="module")
def whole(project, both):
    """A student distilled without an interruption, at another temperature than the one before; what was printed."""
    return project.run("whole", processes=2, **distilling(project))


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("link", ["train", "distill"])
def test_two_processes_train_what_one_trains(project, link):
    one, two = (project.manifest(name, link) for name in ("one", "two"))
    assert [each["details"]["processes"] for each in (one, two)] == [1, 2]
    curves = [each["details"]["curve"] for each in (one, two)]
    assert len(curves[0]) == 2
    for alone, shared in zip(*curves, strict=True):
        assert shared["losses"] == pytest.approx(alone["losses"], rel=1e-5)
        assert shared["val"]["accuracy"] == alone["val"]["accuracy"]
        assert shared["val"]["loss"] == pytest.approx(alone["val"]["loss"], rel=1e-5)
    expected, found = project.weights("one", link), project.weights("two", link)
    assert expected.keys() == found.keys()
    assert any("running_var" in name for name in found)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_one_process_writes_and_talks(project, both):
    run = project.folder / "runs" / "two"
    left = sorted(entry.name for entry in run.iterdir() if not entry.name.startswith("."))
    assert left == ["distill", "recipe.json", "train"]
    assert not list(run.glob(".*.state*"))
    for line in ("train: starts", "distill: starts", "teacher  epoch 1/2", "student  epoch 2/2"):
        assert both.stderr.count(line) == 1, both.stderr
    assert both.stdout.count(str(run / "distill")) <= 1


@pytest.mark.usefixtures("both", "whole")
def test_the_answers_that_two_processes_keep_are_all_that_later_runs_need(project):
    asked = {name: project.manifest(name, "distill")["details"]["teacher"]["asked"] for name in ("one", "two", "whole")}
    seen = 2 * (256 // 32) * 32  # two epochs, each of another view
    assert asked == {"one": seen, "two": seen, "whole": 0}


@pytest.mark.slow
@pytest.mark.usefixtures("whole")
def test_a_killed_process_ends_the_job_which_goes_on_from_the_last_epoch(project):
    job = project.start("killed", processes=2, **distilling(project))
    wait_for_epochs(job, project.state("killed", "distill"), 2)
    os.kill(pid_of(job, rank=1), signal.SIGKILL)
    killed = ended(job)
    assert killed.returncode != 0
    assert "another of the 2 processes has gone (this is number 0)" in killed.stderr
    assert "the state of the last finished epoch is kept in" in killed.stderr
    assert f"compress run {project.folder / 'killed.json'}" in killed.stderr
    continued = project.run("killed", processes=2, **distilling(project))
    assert "goes on at epoch" in continued.stderr
    assert_same_weights(project, "killed")


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_job_asked_to_stop_goes_on_from_that_step(project, number):
    name = f"stopped{int(number)}"
    job = project.start(name, processes=2, **distilling(project))
    wait_for_epochs(job, project.state(name, "distill"), 2)
    job.send_signal(number)
    stopped = ended(job)
    assert stopped.returncode != 0
    assert stopped.stderr.count(f"stopped: by {number.name} after") == 1, stopped.stderr
    assert not (project.folder / "runs" / name / "distill").exists()
    assert finished_epochs(project.state(name, "distill")) < EPOCHS
    continued = project.run(name, processes=2, **distilling(project))
    assert "goes on at epoch" in continued.stderr
    assert_same_weights(project, name)


@pytest.mark.usefixtures("both")
def test_a_batch_that_two_cannot_share_is_refused_in_one_sentence(project):
    refused = ended(project.start("refused", processes=2, **distilling(project, batch_size=33)))
    assert refused.returncode != 0
    assert "exitcode: 2" in refused.stderr  # of the process; the launcher has a code of its own
    assert refused.stderr.count("2 processes cannot share batches of 33 evenly") == 1, refused.stderr
    assert refused.stderr.count("write --batch-size 32") == 1


def assert_same_weights(project: Project, name: str) -> None:
    """Bit for bit those of the run that nothing has interrupted."""
    expected, found = project.weights("whole", "distill"), project.weights(name, "distill")
    assert expected.keys() == found.keys()
    assert all((found[each] == expected[each]).all() for each in expected)

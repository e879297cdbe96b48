"""Temperature and alpha left to a sweep, in whole runs: what it costs, and what an interruption changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compressor import api, caches
from compressor.cli import main as command_line
from compressor.errors import RecipeError
from compressor.teachers._frozen import Frozen
from tests.small import recipe, write_project

TRAINING = {"epochs": 4, "batch_size": 32, "lr": 0.02}
AUTO = {"name": "kd", "temperature": "auto"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="module")
def teacher(project):
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))
    made = api.train(
        project / "teacher.py", data=f"npz:{project / 'data.npz'}", name="made", runs=project / "runs", options=TRAINING
    )
    monkeypatch.undo()
    return made.path


@pytest.fixture(autouse=True)
def at_home(project, monkeypatch):
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))


def distill(project, teacher, name, loss, **options):
    return api.distill(
        teacher,
        project / "student.py",
        data=f"npz:{project / 'data.npz'}",
        name=name,
        runs=project / "runs",
        loss=loss,
        options=TRAINING,
        **options,
    )


def test_a_sweep_asks_the_teacher_nothing_that_the_run_would_not_ask(project, teacher, monkeypatch):
    """Answers are kept by view, so four trials and the run cost what the run alone costs."""
    asked = []
    real = Frozen.answer

    def answer(self, batch):
        if batch.view >= 0:  # plain samples show what keeping answers loses, which is no lesson
            asked.append(len(batch))
        return real(self, batch)

    monkeypatch.setattr(Frozen, "answer", answer)
    counts = {}
    for name, loss in (("plain", {"name": "kd"}), ("swept", AUTO)):
        shutil.rmtree(caches.root(), ignore_errors=True)
        asked.clear()
        made = distill(project, teacher, name, loss, assignments=["data.views.count=2"])
        counts[name] = sum(asked)
        assert made.manifest.details["teacher"]["asked"] == counts[name]

    assert counts["swept"] == counts["plain"] > 0


def test_what_was_chosen_and_why_is_kept_and_the_trials_are_not(project, teacher):
    made = distill(project, teacher, "kept", {**AUTO, "alpha": "auto"})

    told = {decision.what: decision for decision in made.manifest.decisions}
    assert told["temperature"].reason.count(" %") == 8
    assert "after 1 of 4 epochs" in told["alpha"].reason
    assert made.manifest.settings["training"]["losses"][0]["temperature"] == "auto"
    assert made.manifest.metrics["test"]["metrics"]["accuracy"] > 0.9
    assert not list((project / "runs" / "kept").glob(".distill.*"))


@pytest.mark.slow
def test_a_teacher_that_learns_along_begins_anew_in_each_trial(project):
    raw = recipe(
        project, name="peers", teacher={"kind": "peers"}, stages=["distill"], distill={**TRAINING, "losses": [AUTO]}
    )
    del raw["train"]
    stated = {**raw, "name": "stated"}

    swept = api.run(raw).artifacts["student"].manifest
    choice = next(decision.choice for decision in swept.decisions if decision.what == "temperature")
    stated["distill"] = {**TRAINING, "losses": [{"name": "kd", "temperature": float(choice)}]}
    alone = api.run(stated).artifacts["student"].manifest

    assert swept.files["weights.safetensors"] == alone.files["weights.safetensors"]


MAY_DIE = """
import os, signal, sys
from compressor import api
from compressor.training import engine

real = engine.fit

def fit_then_die(job):
    trained = real(job)
    if job.title == "temperature 2":
        os.kill(os.getpid(), signal.SIGKILL)
    return trained

if sys.argv[5] == "die":
    engine.fit = fit_then_die
api.distill(
    sys.argv[1], sys.argv[2], data=sys.argv[3], name=sys.argv[4], runs="runs", loss={"name": "kd", "temperature": "auto"},
    options={"epochs": 4, "batch_size": 32, "lr": 0.02},
)
"""


@pytest.mark.slow
def test_a_killed_sweep_goes_on_with_the_trial_it_was_in_and_ends_the_same(project, teacher):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def distil_in_a_process(name, how):
        words = [str(teacher), str(project / "student.py"), f"npz:{project / 'data.npz'}", name, how]
        line = [sys.executable, "-c", MAY_DIE, *words]
        return subprocess.run(line, env=environment, cwd=project, capture_output=True, text=True)

    died = distil_in_a_process("killed", "die")
    assert died.returncode == -9, died.stderr
    again = distil_in_a_process("killed", "live")
    whole = distil_in_a_process("whole", "live")

    assert (again.returncode, whole.returncode) == (0, 0), again.stderr + whole.stderr
    assert again.stderr.count("as found before") == 2
    assert "temperature 4  epoch" not in again.stderr
    manifests = [api.artifact.read(project / "runs" / name / "distill").manifest for name in ("killed", "whole")]
    assert manifests[0].files["weights.safetensors"] == manifests[1].files["weights.safetensors"]
    choices = [[d for d in each.decisions if d.what == "temperature"] for each in manifests]
    assert choices[0] == choices[1] != []


def test_the_command_takes_auto_and_refuses_other_words(project, teacher, monkeypatch, capsys):
    words = ["distill", "--teacher", str(teacher), "--student", str(project / "student.py"), "--name", "cli"]
    words += ["--data", f"npz:{project / 'data.npz'}", "--runs", str(project / "runs"), "--epochs", "1", "--json"]

    def ended(*more):
        monkeypatch.setattr("sys.argv", ["compress", *words, *more])
        with pytest.raises(SystemExit) as end:
            command_line.main()
        return end.value.code

    assert not ended("--temperature", "auto")
    assert "sweep  temperature 8" in capsys.readouterr().err
    assert ended("--temperature", "warm") == 2
    assert "'warm' is no number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("section", "loss", "message"),
    [
        ("prune", {"name": "kd", "temperature": "auto"}, "by a sweep of distillation alone"),
        ("distill", {"name": "dkd", "alpha": "auto"}, "alpha of 'dkd' is a weight"),
        ("distill", {"name": "hard", "temperature": "auto"}, "hard has no option 'temperature'"),
        ("distill", {"name": "kd", "temperature": "warm"}, "'warm' is not float"),
    ],
)
def test_auto_where_it_has_no_meaning_is_a_fault_of_the_recipe(project, section, loss, message):
    with pytest.raises(RecipeError, match=message):
        api.run(recipe(project, **{section: {"losses": [loss]}}))

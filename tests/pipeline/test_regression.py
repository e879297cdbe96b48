"""A whole run over samples that have numbers for labels."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from compressor import api, artifact, preflight
from compressor.cli import main as command_line
from compressor.errors import DataError, InputError, RecipeError
from tests.small import measured_elsewhere, recipe, typed, write_project

NAMES = ("row", "column")
PIXEL, CORNER = 700.0, 20_000.0


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The small project with a bright spot somewhere, and where it is, in micrometres from somewhere else."""
    folder = write_project(tmp_path_factory.mktemp("regression"))
    generator = np.random.default_rng(11)
    arrays = {}
    for split, count in (("train", 320), ("test", 96)):
        places = generator.uniform(1.0, 6.0, (count, 2)).astype(np.float32)
        rows, columns = np.mgrid[:8, :8]
        apart = (rows - places[:, 0, None, None]) ** 2 + (columns - places[:, 1, None, None]) ** 2
        noise = generator.integers(0, 40, (count, 8, 8))
        arrays |= {
            f"x_{split}": np.clip(200 * np.exp(-apart / 2) + noise, 0, 255).astype(np.uint8)[:, None],
            f"y_{split}": PIXEL * places + CORNER,
        }
    np.savez(folder / "data.npz", **arrays, classes=np.array(NAMES))
    return folder


def run_of(project, **sections):
    budget = {"epochs": 12, "batch_size": 16, "lr": 0.01}
    own = {
        "train": budget,
        "distill": {**budget, "control": True},
        "task": {"name": "regression"},
        "data": {"source": f"npz:{project / 'data.npz'}"},
    }
    raw = recipe(project, **(own | sections))
    return {name: section for name, section in raw.items() if section is not None}


@pytest.fixture(scope="module")
def finished(project):
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))
    done = api.run(run_of(project, name="numbers"))
    monkeypatch.undo()
    return done


@pytest.fixture(autouse=True)
def at_home(project, monkeypatch):
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))


def test_teacher_and_student_tell_where_the_spot_is(finished):
    for role in ("teacher", "student"):
        judged = finished.artifacts[role].manifest.metrics["test"]
        assert judged["primary"] == "within_tolerance"
        assert judged["metrics"]["r2"] > 0.8
        assert [each["name"] for each in judged["per_class"]] == list(NAMES)


def test_where_nothing_is_stated_answers_are_compared_as_they_are(finished):
    student = finished.artifacts["student"].manifest
    told = {each.what: each.choice for each in student.decisions}

    assert told["distill.losses"] == "mse_logits"
    tolerance = float(told["tolerance"].partition(",")[0].removeprefix("row "))
    assert tolerance == pytest.approx(PIXEL * 5 / 12**0.5 / 4, rel=0.05)  # of an even spread over 5 pixels
    assert told["scale of the outputs"].startswith("row × ")
    assert (told["data.views.crop"], told["data.views.flip"]) == ("0 px", "off")  # which would move the spot


def test_the_report_speaks_of_numbers(finished):
    content = json.loads((finished.report.path / "report.json").read_text(encoding="utf-8"))
    page = (finished.report.path / "report.html").read_text(encoding="utf-8")
    student = next(each for each in content["candidates"] if each["role"] == "student")

    assert (content["metric"], content["of_numbers"]) == ("within_tolerance", True)
    assert all(0 <= each["metrics"]["rmse"] < PIXEL for each in student["accuracy"])
    assert all(each["confusion"] is None for each in student["accuracy"])
    assert [len(rows) for rows in content["worst"]["samples"][0]["numbers"]] == [2, 2, 2]
    assert "Share within the tolerance of each number" in page


def test_a_pack_judges_numbers_on_a_device_as_they_are_judged_here(finished, tmp_path):
    told = measured_elsewhere(api.pack(finished.folder, samples=96).folder, tmp_path)["accuracy"]["student"]["metrics"]
    here = finished.artifacts["student"].manifest.metrics["test"]["metrics"]
    assert told == pytest.approx(here, rel=1e-4)


@pytest.mark.slow
def test_it_is_cut_recovered_and_quantized_like_any_other(finished):
    budget = {"macs": 0.7, "epochs": 6, "rounds": 1, "batch_size": 16, "lr": 0.01, "round_to": 1}
    cut = api.prune(finished.artifacts["teacher"].path, options=budget)
    small = api.quantize(cut.path, options={"calibration": 64, "mixed": False})

    assert cut.manifest.metrics["test"]["metrics"]["r2"] > 0.5
    assert small.manifest.metrics["test"]["metrics"]["r2"] > 0.5


def test_labels_that_are_hidden_leave_the_teacher_to_teach_and_tests_say_nothing(project, finished):
    """Where no training target may be seen, the scale is that of the validation targets, never that of the test."""
    arrays = dict(np.load(project / "data.npz"))
    arrays["y_test"] = arrays["y_test"] + 1e6
    np.savez(project / "far.npz", **arrays)
    teacher = {"model": str(finished.artifacts["teacher"].path)}
    alone = {"epochs": 6, "batch_size": 16, "lr": 0.01}
    done = {
        name: api.run(
            run_of(
                project,
                train=None,
                teacher=teacher,
                data={"source": f"npz:{project / name}.npz", "labels": False},
                distill=alone,
                stages=["distill"],
                name=f"hidden-{name}",
            )
        ).artifacts["student"]
        for name in ("data", "far")
    }

    assert done["data"].manifest.metrics["test"]["metrics"]["r2"] > 0.7
    scales = [made.manifest.details["network"]["normalisation"]["outputs"] for made in done.values()]
    assert scales[0] == scales[1]
    assert scales[0][0] == pytest.approx([CORNER + 3.5 * PIXEL] * 2, rel=0.05)


def test_targets_that_nobody_knows_leave_no_scale(project, tmp_path):
    arrays = dict(np.load(project / "data.npz"))
    arrays["y_train"] = np.full_like(arrays["y_train"], np.nan)
    np.savez(tmp_path / "unknown.npz", **arrays)
    with pytest.raises(DataError, match="no sample for training or validation has a target"):
        api.run(run_of(project, data={"source": f"npz:{tmp_path / 'unknown.npz'}"}, name="unknown"))


def test_a_recipe_that_cannot_be_is_found_out_before_anything_is_trained(project):
    raw = run_of(project, distill={"epochs": 1, "losses": [{"name": "kd"}]}, task={"name": "regression"})
    raw["task"]["options"] = {"tolerance": -1.0}
    told = {fault.where: fault.message for fault in preflight.check(raw)}

    assert "compares probabilities of classes" in told["distill.losses.0"]
    assert "must be 0 or more" in told["task.options.tolerance"]


def test_a_loss_on_features_has_the_distance_of_the_answers_beside_it(project, finished, capsys, monkeypatch):
    teacher = str(finished.artifacts["teacher"].path)
    words = ["--teacher", teacher, "--student", str(project / "student.py"), "--data", f"npz:{project / 'data.npz'}"]
    words += ["--loss", "fitnet", "--epochs", "1", "--name", "features", "--runs", str(project / "runs")]
    monkeypatch.setattr(sys, "argv", ["compress", "distill", *words, "--set", "task.name=regression"])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert not ended.value.code

    made = artifact.read(project / "runs" / "features" / "distill")
    assert [each["name"] for each in made.manifest.settings["training"]["losses"]] == ["mse_logits", "fitnet"]
    assert "test within tolerance" in capsys.readouterr().out


def test_the_model_card_says_what_comes_out(finished):
    card = (finished.report.path / "report.card.md").read_text(encoding="utf-8")

    assert "Regression of row, column" in card
    assert "argmax" not in card
    assert "Right is row ± " in card


@pytest.mark.parametrize(
    ("name", "why"),
    [(each, "compares probabilities of classes") for each in ("kd", "dist", "wttm")]
    + [(each, "needs the one right class") for each in ("dkd", "nkd")],
)
def test_losses_on_probabilities_are_refused_with_the_one_to_use(project, finished, name, why):
    teacher = {"model": str(finished.artifacts["teacher"].path)}
    with pytest.raises(RecipeError, match=why) as caught:
        api.run(run_of(project, train=None, teacher=teacher, distill={"losses": [{"name": name}]}, name="wrong-loss"))
    assert "mse_logits" in str(caught.value)


@pytest.mark.parametrize("named", [True, False], ids=["named", "the newest"])
def test_a_loss_on_features_gets_beside_it_what_suits_the_task_of_the_artifact(
    finished, tmp_path, monkeypatch, capsys, named
):
    runs = tmp_path / "runs"
    shutil.copytree(finished.artifacts["student"].path, runs / "small" / "distill")
    words = [str(runs / "small" / "distill")] if named else []
    words += [
        "--loss",
        "similarity_preserving",
        "--macs",
        "0.8",
        "--rounds",
        "1",
        "--epochs",
        "1",
        "--round-to",
        "1",
        "--json",
    ]
    assert typed(monkeypatch, "prune", *words, "--runs", str(runs)) == 0

    made = artifact.read(Path(json.loads(capsys.readouterr().out)["path"]))
    kept = made.manifest.settings["training"]["losses"]
    assert [entry["name"] for entry in kept] == ["mse_logits", "similarity_preserving"]


@pytest.mark.parametrize(
    ("kind", "wants"), [("same_class", "pairs samples by their classes"), ("union", "is for samples of one class each")]
)
def test_kinds_of_teachers_that_know_classes_are_refused(project, finished, kind, wants):
    path = str(finished.artifacts["teacher"].path)
    teacher = {"kind": kind} | ({"model": path, "members": [{"model": path}]} if kind == "union" else {})
    with pytest.raises(RecipeError, match=f"teacher.kind: '{kind}' {wants}, and this task predicts numbers"):
        api.run(run_of(project, train=None, teacher=teacher, name=f"wrong-{kind}"))


def test_numbers_are_refused_to_a_task_of_classes_and_the_other_way_round(project, tmp_path):
    with pytest.raises(InputError, match="takes one class for each sample, and the data has numbers") as caught:
        api.run(run_of(project, task={"name": "classification"}, name="wrong-task"))
    assert '"regression"' in caught.value.hint
    write_project(tmp_path)
    with pytest.raises(InputError, match="takes numbers for each sample, and the data has one class") as caught:
        api.run(recipe(tmp_path, task={"name": "regression"}))
    assert "floats [N] or [N, K]" in caught.value.hint

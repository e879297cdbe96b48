"""A whole run over samples that have several classes, or none."""

from __future__ import annotations

import json

import numpy as np
import pytest

from compressor import api
from compressor.errors import InputError, RecipeError
from tests.small import measured_elsewhere, recipe, write_project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The small project with 0 to 4 bright squares in a picture."""
    folder = write_project(tmp_path_factory.mktemp("multilabel"))
    generator = np.random.default_rng(11)
    arrays = {}
    for split, count in (("train", 320), ("test", 96)):
        there = generator.random((count, 4)) < 0.4
        pictures = generator.integers(0, 120, (count, 1, 8, 8))
        for picture, squares in zip(pictures, there, strict=True):
            for square in np.flatnonzero(squares):
                row, column = divmod(int(square), 2)
                picture[0, 4 * row + 1 : 4 * row + 3, 4 * column + 1 : 4 * column + 3] += 130
        arrays |= {f"x_{split}": pictures.astype(np.uint8), f"y_{split}": there.astype(np.int64)}
    names = np.array(["north-west", "north-east", "south-west", "south-east"])
    np.savez(folder / "data.npz", **arrays, classes=names)
    return folder


def run_of(project, **sections):
    budget = {"epochs": 8, "batch_size": 32, "lr": 0.02}
    return recipe(
        project,
        **({"train": budget, "distill": {**budget, "control": True}, "task": {"name": "multilabel"}} | sections),
    )


@pytest.fixture(scope="module")
def finished(project):
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))
    done = api.run(run_of(project))
    monkeypatch.undo()
    return done


@pytest.fixture(autouse=True)
def at_home(project, monkeypatch):
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))


def test_teacher_and_student_tell_which_squares_are_there(finished):
    for role in ("teacher", "student"):
        metrics = finished.artifacts[role].manifest.metrics["test"]["metrics"]
        assert metrics["subset_accuracy"] > 0.6
        assert metrics["map"] > 0.9


@pytest.mark.slow
def test_the_quantized_model_answers_like_the_float_model(finished):
    made = api.quantize(finished.artifacts["student"].path, options={"mixed": False, "calibration": 64})

    assert made.manifest.details["parity"]["agreement"] > 0.9


def test_the_report_names_sets_of_classes(finished):
    content = json.loads((finished.report.path / "report.json").read_text(encoding="utf-8"))

    assert content["metric"] == "subset_accuracy"
    assert content["label_sets"] is True
    assert (finished.report.path / "report.html").stat().st_size > 10_000


def test_a_pack_judges_sets_of_classes_on_a_device(finished, tmp_path):
    told = measured_elsewhere(api.pack(finished.folder, samples=30).folder, tmp_path)

    assert all(0 <= each["metrics"]["subset_accuracy"] <= 1 for each in told["accuracy"].values())


def test_sets_of_classes_are_refused_to_a_task_of_one_class_each(project):
    with pytest.raises(
        InputError, match="takes one class for each sample, and the data has a set of classes"
    ) as caught:
        api.run(run_of(project, task={"name": "classification"}, name="wrong"))
    assert "multilabel" in caught.value.hint


def test_teachers_that_read_probabilities_of_one_right_class_are_refused(project):
    teacher = {"model": str(project / "runs/small/train"), "members": [{"model": str(project / "runs/small/train")}]}
    with pytest.raises(RecipeError, match="is for samples of one class each, and this task has sets of classes"):
        api.run(run_of(project, train=None, teacher=teacher | {"kind": "ensemble"}, name="several"))

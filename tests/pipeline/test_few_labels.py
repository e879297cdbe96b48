"""Whole runs with few labels or none: from a command, with a control, exported and measured."""

from __future__ import annotations

import numpy as np
import pytest

from compressor import api
from compressor.cli import main as command_line
from compressor.errors import InputError, RecipeError
from tests.small import QUICK_BENCH, recipe, write_project

TRAINING = {"epochs": 4, "batch_size": 32, "lr": 0.02}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The small project; `few.npz` has 24 labelled training samples, `more.npz` the pictures of all others."""
    folder = write_project(tmp_path_factory.mktemp("few"))
    data = dict(np.load(folder / "data.npz"))
    x, y = data.pop("x_train"), data.pop("y_train")
    np.savez(folder / "few.npz", x_train=x[:24], y_train=y[:24], **data)
    np.savez(folder / "more.npz", x=x[24:])
    return folder


@pytest.fixture(autouse=True)
def at_home(project, monkeypatch):
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))


@pytest.fixture(scope="module")
def teacher(project):
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))
    made = api.train(
        project / "teacher.py", data=f"npz:{project / 'data.npz'}", name="made", runs=project / "runs", options=TRAINING
    )
    monkeypatch.undo()
    return made.path


def distill(project, teacher, name, **options):
    settings = {"data": f"npz:{project / 'few.npz'}", "name": name, "runs": project / "runs", "options": TRAINING}
    return api.distill(teacher, project / "student.py", **settings | options)


def test_few_labels_and_many_pictures_make_a_student_with_its_control(project, teacher):
    made = distill(project, teacher, "few", unlabelled=f"npz:{project / 'more.npz'}", control=True)

    control = api.artifact.read(project / "runs" / "few" / "control").manifest
    assert made.manifest.data["sizes"] == {"train": 254, "val": 2, "test": 96, "unlabelled": 232}
    assert made.manifest.metrics["test"]["metrics"]["accuracy"] > 0.9
    assert "training samples" in [decision.what for decision in control.decisions]
    assert [len(each["losses"]) for each in control.details["curve"]] == [1] * TRAINING["epochs"]
    assert api.pipeline.is_control_of(api.artifact.read(project / "runs" / "few" / "control"), made)


def test_the_command_distils_without_any_label(project, teacher, monkeypatch):
    words = ["distill", "--teacher", str(teacher), "--student", str(project / "student.py"), "--no-labels"]
    words += ["--data", f"npz:{project / 'data.npz'}", "--unlabelled", str(project / "more.npz"), "--name", "none"]
    words += ["--runs", str(project / "runs"), "--epochs", "3", "--batch-size", "32", "--lr", "0.02", "--json"]
    monkeypatch.setattr("sys.argv", ["compress", *words])

    with pytest.raises(SystemExit) as end:
        command_line.main()

    assert not end.value.code
    made = api.artifact.read(project / "runs" / "none" / "distill").manifest
    assert made.data["sizes"]["unlabelled"] == made.data["sizes"]["train"]
    assert made.settings["training"]["losses"] == [{"name": "kd", "weight": 1.0, "alpha": 1.0}]
    assert made.metrics["test"]["metrics"]["accuracy"] > 0.9
    assert made.details["curve"][-1]["val"]["accuracy"] > 0.9


@pytest.mark.slow
def test_a_student_without_labels_is_pruned_quantized_exported_and_measured(project, teacher):
    source = project / "runs" / "none" / "distill"

    pruned = api.prune(source, options={"macs": 0.7, "epochs": 1, "rounds": 1, "batch_size": 32, "round_to": 1})
    quantized = api.quantize(pruned.path, options={"calibration": 32, "max_drop": 50.0})
    measured = api.bench(project / "runs" / "none", options=QUICK_BENCH | {"runtimes": ["torch", "ort_cpu"]})

    assert quantized.manifest.metrics["test"]["metrics"]["accuracy"] > 0.5
    assert {each["role"] for each in api.measurements_of(measured)["candidates"]} == {
        "teacher",
        "distilled",
        "pruned",
        "student",
    }


def test_without_labels_and_validation_the_parity_gate_compares_answers_alone(project, teacher):
    made = distill(project, teacher, "unjudged", labels=False, assignments=["data.val_share=0"])

    parity = api.export(made.path).manifest.details["parity"]

    assert parity["samples"] == made.manifest.data["sizes"]["train"]
    assert parity["agreement"] == 1.0
    assert parity["metric_reference"] is parity["metric_candidate"] is None


def test_a_criterion_that_needs_labels_says_so(project, teacher):
    with pytest.raises(InputError, match="no training sample has a label, which this criterion needs"):
        api.prune(project / "runs" / "none" / "distill", options={"criterion": "taylor", "epochs": 1, "batch_size": 32})


def test_the_train_split_is_judged_on_the_samples_that_have_a_label(project, teacher):
    found = api.evaluate(
        teacher,
        data=f"npz:{project / 'few.npz'}",
        split="train",
        assignments=[f"data.unlabelled=npz:{project / 'more.npz'}"],
    )

    assert found["samples"] == 22


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distill": {"losses": [{"name": "kd", "alpha": 0.5}]}}, "alpha = 0.5 lets it learn from labels"),
        ({"distill": {"losses": [{"name": "hard"}]}}, "'hard' learns from labels"),
        ({"distill": {"losses": [{"name": "dkd", "hard": 1.0}]}}, "hard = 1.0 lets it learn from labels"),
        ({"distill": {"control": True}}, "a control learns from labels alone"),
        ({"teacher": {"kind": "previous_epoch"}}, "'previous_epoch' knows nothing by itself"),
        ({"train": {}}, "a teacher learns from labels alone"),
    ],
)
def test_what_asks_for_labels_that_are_hidden_is_a_fault_of_the_recipe(project, teacher, change, message):
    raw = recipe(project, teacher={"model": str(teacher)}, distill={})
    raw.pop("train")
    raw["data"] = {**raw["data"], "labels": False}

    with pytest.raises(RecipeError, match=message):
        api.run(raw | change)


def test_labels_that_are_not_there_are_found_out_before_training(project, teacher, tmp_path):
    data = dict(np.load(project / "data.npz"))
    data["y_train"] = np.full_like(data["y_train"], -1)
    np.savez(tmp_path / "none.npz", **data)

    with pytest.raises(InputError, match="labels are all that 'hard' learns from"):
        distill(project, teacher, "hard", data=f"npz:{tmp_path / 'none.npz'}", loss={"name": "hard"})
    assert not (project / "runs" / "hard" / ".distill.state").exists()


def test_a_wrong_second_source_is_a_fault_of_the_recipe(project, teacher):
    with pytest.raises(RecipeError, match=r"data.unlabelled: there is no absent.npz"):
        distill(project, teacher, "wrong", unlabelled="npz:absent.npz")

"""Teachers that are files: whole runs from them, and runs that are opened again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from compressor import api, artifact
from compressor.cli import main as command_line
from compressor.errors import InputError, ModelError, RecipeError
from tests.small import QUICK_BENCH, recipe, write_project

TRAINING = {"epochs": 4, "batch_size": 32, "lr": 0.02}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The small project with `net.onnx`: a trained teacher that wants normalised pixels, and does not say so."""
    folder = write_project(tmp_path_factory.mktemp("files"))
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("COMPRESS_HOME", str(folder / "home"))
    trained = api.train(
        folder / "teacher.py", data=f"npz:{folder / 'data.npz'}", name="made", runs=folder / "runs", options=TRAINING
    )
    exported = api.export(trained.path, options={"normalise": False})
    model = onnx.load(exported.file("model.onnx"))
    del model.metadata_props[:]
    onnx.save(model, folder / "net.onnx")
    monkeypatch.undo()
    return folder


@pytest.fixture(autouse=True)
def at_home(project, monkeypatch):
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))


def run_of(project, name, **sections):
    sections = {"train": None, "distill": {**TRAINING, "control": False}} | sections
    raw = recipe(project, name=name, **sections)
    return {key: value for key, value in raw.items() if value is not None}


@pytest.fixture(scope="module")
def from_onnx(project):
    """A whole run whose teacher is the ONNX file."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))
    done = api.run(run_of(project, "from-onnx", teacher={"model": str(project / "net.onnx")}))
    monkeypatch.undo()
    return done


def test_an_onnx_file_teaches_is_measured_and_named_in_the_report(from_onnx):
    student = from_onnx.artifacts["student"].manifest
    results = api.measurements_of(from_onnx.measurements)

    assert student.details["teacher"]["kind"] == "onnx"
    assert student.metrics["test"]["metrics"]["accuracy"] > 0.9
    assert [each["role"] for each in results["candidates"]] == ["teacher", "student"]
    assert {each["accuracy"][0]["metrics"]["accuracy"] > 0.9 for each in results["candidates"]} == {True}
    assert from_onnx.report is not None


def test_what_was_found_out_about_the_file_is_kept_with_a_copy_of_it(from_onnx):
    teacher = from_onnx.onnx["teacher"]

    chosen = {decision.what: decision.choice for decision in teacher.manifest.decisions}
    assert chosen["teacher's normalisation"].startswith("data")
    assert from_onnx.artifacts["student"].parent("teacher").path == teacher.path
    teacher.verify()


def test_each_view_of_each_sample_is_asked_once(from_onnx):
    manifest = from_onnx.artifacts["student"].manifest

    views = manifest.settings["data"]["views"]["count"]
    assert 0 < manifest.details["teacher"]["asked"] <= views * manifest.data["sizes"]["train"]


def test_a_later_process_finds_the_teacher_of_the_run_again(project, from_onnx, tmp_path):
    moved = tmp_path / "net.onnx"
    shutil.move(project / "net.onnx", moved)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    line = [
        sys.executable,
        "-m",
        "compressor",
        "bench",
        str(from_onnx.folder),
        "--set",
        "bench.min_seconds=0.05",
        "--set",
        "bench.starts=1",
    ]
    try:
        done = subprocess.run(line, env=environment, cwd=project, capture_output=True, text=True)
    finally:
        shutil.move(moved, project / "net.onnx")

    assert done.returncode == 0, done.stderr
    measured = artifact.read(from_onnx.folder / "bench")
    assert [each["role"] for each in api.measurements_of(measured)["candidates"]] == ["teacher", "student"]


def test_a_second_run_does_nothing_again(project, from_onnx, capsys):
    api.run(run_of(project, "from-onnx", teacher={"model": str(project / "net.onnx")}, stages=["distill", "export"]))

    assert capsys.readouterr().err.count("unchanged") == 3


def test_the_command_takes_an_onnx_file_without_a_word_about_its_kind(project):
    made = api.distill(
        project / "net.onnx",
        project / "student.py",
        data=f"npz:{project / 'data.npz'}",
        name="plain",
        runs=project / "runs",
        options={**TRAINING, "epochs": 1},
    )

    assert made.manifest.settings["kind"] == "onnx"


def test_an_exported_artifact_teaches_as_it_is(project, from_onnx):
    teacher = {"model": str(from_onnx.folder / "export"), "kind": "onnx"}

    done = api.run(
        run_of(project, "from-export", teacher=teacher, stages=["distill"], distill={**TRAINING, "epochs": 1})
    )

    assert done.artifacts["student"].parent("teacher").path.resolve() == (from_onnx.folder / "export").resolve()


def test_a_file_for_other_classes_is_refused_before_training(project, tmp_path):
    data = dict(np.load(project / "data.npz"))
    keep = {split: data[f"y_{split}"] < 3 for split in ("train", "test")}
    three = {f"{part}_{split}": data[f"{part}_{split}"][keep[split]] for split in keep for part in "xy"}
    np.savez(tmp_path / "three.npz", **three)

    with pytest.raises(ModelError, match="4 outputs, the data has 3 classes"):
        api.distill(
            project / "net.onnx", project / "student.py", data=f"npz:{tmp_path / 'three.npz'}", runs=tmp_path / "runs"
        )


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"model": "absent.onnx"}, "there is no absent.onnx"),
        ({"model": "student.py", "kind": "onnx"}, "is not an ONNX file"),
        ({"model": "net.onnx", "arch": "student.py"}, "'onnx' is a file and takes no arch"),
        ({"kind": "onnx"}, "'onnx' needs a file"),
    ],
)
def test_what_cannot_be_an_onnx_teacher_is_a_fault_of_the_recipe(project, monkeypatch, teacher, message):
    monkeypatch.chdir(project)

    with pytest.raises(RecipeError, match=message):
        api.run(run_of(project, "faulty", teacher=teacher))


def test_a_file_cannot_be_pruned(project):
    raw = run_of(project, "cut", teacher={"model": str(project / "net.onnx")}, prune={}, stages=["prune"])

    with pytest.raises(RecipeError, match="'prune' changes a network, and a teacher of the kind 'onnx' is none"):
        api.run({key: value for key, value in raw.items() if key not in ("student", "distill")})


def test_stored_outputs_teach_another_split_of_the_same_data(project, tmp_path):
    file = tmp_path / "answers.npz"
    source = f"npz:{project / 'data.npz'}"
    api.evaluate(project / "runs" / "made" / "train", save_outputs=file)
    stored = np.load(file)
    assert stored["logits"].shape == (256 + 96, 4)

    raw = run_of(project, "from-outputs", teacher={"model": str(file)}, stages=["distill", "export"])
    done = api.run(raw, assignments=["data.split_seed=5", "data.views.count=2"])

    student = done.artifacts["student"].manifest
    assert student.settings["kind"] == "outputs"
    told = student.details["teacher"]
    assert (told["kind"], told["title"], told["asked"]) == ("outputs", "answers.npz", 0)
    own = artifact.read(project / "runs" / "made" / "train").manifest.metrics["test"]["metrics"]
    assert told["test"]["accuracy"] == pytest.approx(own["accuracy"]), "the file says how good its teacher was"
    assert student.metrics["test"]["metrics"]["accuracy"] > 0.9
    (told,) = [decision.reason for decision in student.decisions if decision.what == "teacher"]
    count = student.data["sizes"]["train"]
    assert told == f"for {count} of {count} training samples, found by their content"
    assert source == student.data["source"]


@pytest.mark.slow
def test_a_run_of_stored_outputs_is_opened_again_without_a_teacher(project, from_onnx, capsys):
    measured = api.bench(
        project / "runs" / "from-outputs", options={"profiles": ["edge"], "min_seconds": 0.05, "blocks": 5, "starts": 1}
    )

    assert "gone" not in capsys.readouterr().err
    assert [each["role"] for each in api.measurements_of(measured)["candidates"]] == ["student"]


def test_the_command_writes_outputs_that_teach(project, tmp_path, monkeypatch, capsys):
    words = ["evaluate", str(project / "net.onnx"), "--data", f"npz:{project / 'data.npz'}"]
    monkeypatch.setattr("sys.argv", ["compress", *words, "--save-outputs", str(tmp_path / "o.npz"), "--json"])

    with pytest.raises(SystemExit) as end:
        command_line.main()

    assert not end.value.code
    assert np.load(tmp_path / "o.npz")["classes"].tolist()[0] == "north-west"
    with pytest.raises(InputError, match="no name of a NumPy archive"):
        api.evaluate(project / "net.onnx", data=f"npz:{project / 'data.npz'}", save_outputs=tmp_path / "o.txt")


def test_an_onnx_file_from_elsewhere_is_quantized_and_keeps_its_input(project):
    made = api.quantize(
        project / "net.onnx",
        data=f"npz:{project / 'data.npz'}",
        runs=project / "runs",
        options={"mixed": False, "calibration": 32},
    )

    theirs, ours = onnx.load(project / "net.onnx"), onnx.load(made.file("model.onnx"))
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in ours.graph.node}
    assert ours.graph.input[0].name == theirs.graph.input[0].name
    assert made.parent("network") is None
    assert made.manifest.metrics["test"]["metrics"]["accuracy"] > 0.5


def test_training_with_rounding_is_refused_to_a_file_that_cannot_be_trained(project):
    with pytest.raises(InputError, match="needs the network, not its ONNX file"):
        api.quantize(
            project / "net.onnx",
            data=f"npz:{project / 'data.npz'}",
            runs=project / "runs",
            options={"method": "qat", "epochs": 1},
        )


def test_a_file_is_evaluated_as_it_would_be_fed_as_a_teacher(project):
    found = api.evaluate(project / "net.onnx", data=f"npz:{project / 'data.npz'}")
    as_it_is = api.evaluate(
        project / "net.onnx", data=f"npz:{project / 'data.npz'}", assignments=["teacher.normalise=none"]
    )

    assert found["metrics"]["loss"] < as_it_is["metrics"]["loss"]
    assert [each["what"] for each in found["decisions"]] == ["teacher's normalisation"]


def test_a_score_on_test_samples_that_were_drawn_from_the_training_set_is_told_as_such(project):
    arrays = dict(np.load(project / "data.npz"))
    np.savez(project / "all.npz", **{name: rows for name, rows in arrays.items() if not name.endswith("_test")})

    found = api.evaluate(project / "net.onnx", data=f"npz:{project / 'all.npz'}")

    assert found["decisions"][-1]["choice"] == "may be too good"


def test_files_are_compared_each_as_it_wants_to_be_fed(project, from_onnx, tmp_path, capsys):
    shutil.copyfile(from_onnx.folder / "export" / "model.onnx", tmp_path / "ours.onnx")

    made = api.bench(
        tmp_path / "ours.onnx",
        project / "net.onnx",
        data=f"npz:{project / 'data.npz'}",
        runs=tmp_path / "runs",
        options=QUICK_BENCH,
    )

    judged = [each["accuracy"][0]["metrics"]["accuracy"] for each in api.measurements_of(made)["candidates"]]
    assert min(judged) > 0.9
    assert "net: normalisation data" in capsys.readouterr().err


def test_a_student_of_stored_outputs_keeps_to_a_budget_from_what_they_are_worth(project, tmp_path):
    source, trained = f"npz:{project / 'data.npz'}", project / "runs" / "made" / "train"
    api.evaluate(trained, save_outputs=tmp_path / "o.npz")
    with np.load(tmp_path / "o.npz") as whole:
        np.savez(
            tmp_path / "train.npz", **{name: whole[name][:256] if name != "classes" else whole[name] for name in whole}
        )

    def drop_from(file):
        name = file.stem
        made = api.distill(file, project / "student.py", data=source, name=name, runs=tmp_path, options=TRAINING)
        assert made.manifest.role == "student"
        (budget,) = api.measurements_of(api.bench(tmp_path / name, options=QUICK_BENCH | {"max_drop": 100}))["budgets"]
        return budget["value"], budget["met"]

    assert drop_from(tmp_path / "o.npz")[1]
    assert drop_from(tmp_path / "train.npz") == (None, False), "nobody knows how good it is on the test split"

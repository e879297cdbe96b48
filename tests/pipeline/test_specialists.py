"""A generalist and its specialists in a whole run: found, trained side by side, made one, exported and learned from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from compressor import api, artifact
from compressor.cli import main as command_line
from compressor.errors import DivergenceError, InputError, ModelError
from compressor.models import checkpoint
from compressor.report import collect
from tests.small import QUICK_BENCH, recipe, write_project

CLASSES = ("ant", "bee", "cow", "doe", "elk", "fox")
TRAINING = {"batch_size": 32, "lr": 0.003, "compile": False}
BENCH = QUICK_BENCH | {"runtimes": ["torch", "ort_cpu"]}


def pictures(generator, count):
    """Three places for a bright square, and in each of them two dots that are hard to tell apart."""
    labels = np.arange(count) % 6
    found = generator.integers(0, 120, (count, 1, 8, 8))
    for picture, label in zip(found, labels, strict=True):
        place, which = divmod(int(label), 2)
        row, column = divmod(place, 2)
        picture[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 70
        picture[0, 4 * row + 1 + which, 4 * column + 1] += 60
    return found.astype(np.uint8), labels


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Six classes in confusable pairs, and a trained generalist in `runs/general/train`."""
    folder = write_project(tmp_path_factory.mktemp("specialists"))
    generator = np.random.default_rng(7)
    (x_train, y_train), (x_test, y_test) = pictures(generator, 480), pictures(generator, 120)
    named = np.array(CLASSES)
    np.savez(folder / "data.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, classes=named)
    api.run(asked(folder, "general", teacher={"model": str(folder / "teacher.py")}, train={"epochs": 4}))
    return folder


def asked(folder, name, **sections):
    raw = recipe(folder, name=name, stages=["train"], bench=BENCH, **sections)
    raw["data"] = {"source": f"npz:{folder / 'data.npz'}", "views": {"crop": 0, "flip": False}}
    raw["train"] = {**TRAINING, "epochs": 4} if "train" in sections else None
    return raw


def specialising(folder, name, **settings):
    generalist = {"model": str(folder / "runs" / "general" / "train"), "kind": "specialists"}
    raw = asked(folder, name, teacher=generalist)
    raw |= {"stages": ["distill", "export", "bench", "report"], "distill": {**TRAINING, "epochs": 2}}
    return raw | {"specialists": {**TRAINING, "count": 3, "epochs": 6, "processes": 2, **settings}}


@pytest.fixture(scope="module")
def finished(project):
    return api.run(specialising(project, "all"))


def assert_alike(one, other):
    assert one
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)


def weights(project, run, link):
    return load_file(project / "runs" / run / link / "weights.safetensors")


@pytest.mark.slow
def test_the_classes_that_are_confused_get_a_specialist_each(project, finished):
    clusters = artifact.read(finished.folder / "clusters").manifest
    members = [artifact.read(finished.folder / f"specialist-{number}").manifest for number in (1, 2, 3)]

    assert clusters.details["clusters"] == [[0, 1], [2, 3], [4, 5]]
    assert [member.data["classes"][:-1] for member in members] == [["ant", "bee"], ["cow", "doe"], ["elk", "fox"]]
    assert {member.role for member in members} == {"specialist"}
    for member in members:
        assert member.details["specialist"]["oversampled"] == pytest.approx(2.0, rel=0.1)
        assert member.data["sizes"]["train"] == pytest.approx(2 * 432 / 3, rel=0.1)
        assert "processes at once" in {decision.what for decision in member.decisions}


@pytest.mark.slow
def test_all_are_one_network_that_is_exported_and_better_than_the_generalist(project, finished):
    teacher = finished.artifacts["teacher"]
    general = artifact.read(project / "runs" / "general" / "train").manifest

    told = teacher.manifest.details["network"]
    assert told["target"] == "specialists"
    assert [member["title"] for member in told["members"]][1:] == [
        "specialist 1 (ant, bee)",
        "specialist 2 (cow, doe)",
        "specialist 3 (elk, fox)",
    ]
    assert checkpoint.load(teacher).network.module.rule.rounds == 1
    better = [each.metrics["test"]["metrics"]["accuracy"] for each in (general, teacher.manifest)]
    assert better[1] > better[0]
    assert finished.onnx["teacher"].manifest.details["parity"]["agreement"] == 1.0


@pytest.mark.slow
def test_the_student_says_who_taught_it_and_the_report_holds_every_member(finished):
    student = finished.artifacts["student"].manifest
    links = collect.collect(finished.measurements).links

    assert student.details["teacher"]["kind"] == "specialists"
    assert len(student.details["teacher"]["members"]) == 4
    assert [link.role for link in links].count("specialist") == 3
    assert {link.stage for link in links} >= {"cluster", "specialize", "adopt", "distill", "export", "bench"}


@pytest.mark.slow
def test_links_are_counted_and_an_unchanged_one_is_not_made_again(project, finished, capsys):
    capsys.readouterr()

    api.run(specialising(project, "all", processes=1))  # how many at once changes nothing

    said = capsys.readouterr().err
    for number, name in enumerate(["clusters", "specialist-1", "specialist-2", "specialist-3", "teacher"], start=1):
        assert f"[{number}/9] {name}: unchanged" in said
    assert "[9/9] bench: unchanged" in said


@pytest.mark.slow
def test_one_that_is_gone_is_made_again_alone_with_the_same_numbers(project, finished, capsys):
    shutil.copytree(finished.folder, finished.folder.with_name("again"))
    shutil.rmtree(finished.folder.with_name("again") / "specialist-2")

    api.run(specialising(project, "again") | {"stages": ["distill"]})

    said = capsys.readouterr().err
    assert "specialist-1: unchanged" in said
    assert "specialist-2: starts" in said
    assert_alike(weights(project, "all", "specialist-2"), weights(project, "again", "specialist-2"))


@pytest.mark.slow
def test_in_this_process_the_specialists_learn_the_same(project, finished):
    done = api.run(specialising(project, "one", processes=1) | {"stages": ["distill"]})

    for number in (1, 2, 3):
        here, there = (
            artifact.read(folder / f"specialist-{number}").manifest.details["curve"][-1]["train_loss"]
            for folder in (done.folder, finished.folder)
        )
        assert here == pytest.approx(there, rel=0.02)  # other threads add up in another order


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_with_the_same_numbers(project, finished):
    file, name = project / "killed.json", "killed"
    file.write_text(json.dumps(specialising(project, name) | {"stages": ["distill"]}), encoding="utf-8")
    line = [sys.executable, "-m", "compressor", "run", str(file)]
    state = project / "runs" / name / ".specialist-3.state" / "state.json"  # one of the others is done by then
    process = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=project)
    while not state.exists() and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.communicate(timeout=120)  # ends with the last process that holds standard error

    continued = subprocess.run(line, check=True, capture_output=True, text=True, cwd=project)

    assert process.returncode == -9
    assert "specialist-1: unchanged" in continued.stderr or "specialist-2: unchanged" in continued.stderr
    assert "specialist-3: goes on at epoch" in continued.stderr
    for each in ("specialist-1", "specialist-2", "specialist-3"):
        assert_alike(weights(project, "all", each), weights(project, name, each))


@pytest.mark.slow
def test_a_generalist_may_be_trained_by_the_same_recipe_and_its_word_heard(project):
    raw = specialising(project, "trained", soft=0.5, epochs=1)
    raw |= {"teacher": {"model": str(project / "teacher.py"), "kind": "specialists"}, "stages": ["train", "distill"]}

    done = api.run(raw | {"train": {**TRAINING, "epochs": 3}})

    told = artifact.read(done.folder / "specialist-1").manifest
    assert told.details["teacher"]["kind"] == "network"
    assert list(told.details["curve"][0]["losses"]) == ["kd"]
    assert done.artifacts["teacher"].manifest.details["network"]["target"] == "specialists"


def test_a_fault_in_a_process_is_told_as_it_would_be_here(project):
    raw = specialising(project, "faulty")
    raw["specialists"] |= {"lr": 1e30, "optimizer": "sgd", "epochs": 4}

    with pytest.raises(DivergenceError, match=r"not finite|exploded|NaN"):
        api.run(raw)


def test_too_many_clusters_are_refused_before_anything_is_made(project):
    with pytest.raises(InputError, match="4 clusters of 6 classes leave fewer than two for each"):
        api.run(specialising(project, "many", count=4))

    assert not (project / "runs" / "many" / "clusters").exists()


def test_a_generalist_of_fixed_outputs_is_refused_with_what_to_change(project):
    fixed = (
        (project / "teacher.py")
        .read_text(encoding="utf-8")
        .replace("num_classes: int, ", "")
        .replace("num_classes", "6")
    )
    (project / "fixed.py").write_text(fixed, encoding="utf-8")
    raw = specialising(project, "fixed", processes=1)
    raw |= {"teacher": {"model": str(project / "fixed.py"), "kind": "specialists"}, "stages": ["train", "distill"]}

    with pytest.raises(ModelError, match="the builder fixes the number of outputs"):
        api.run(raw | {"train": {**TRAINING, "epochs": 3}})


@pytest.mark.slow
def test_the_command_line_makes_them(project, monkeypatch, capsys):
    line = ["compress", "distill", "--teacher", str(project / "runs" / "general" / "train")]
    line += ["--teacher-kind", "specialists", "--student", str(project / "student.py"), "--name", "typed", "--json"]
    line += ["--data", f"npz:{project / 'data.npz'}", "--runs", str(project / "runs"), "--epochs", "1"]
    line += ["--set", "specialists.epochs=1", "--set", "specialists.processes=2"]
    monkeypatch.setattr("sys.argv", line)

    with pytest.raises(SystemExit) as ended:
        command_line.main()

    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["path"].endswith("distill")
    assert artifact.is_artifact(project / "runs" / "typed" / "teacher")

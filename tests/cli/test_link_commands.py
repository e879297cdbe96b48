"""`compress prune` and `compress quantize`: what they print, and the exit code of a target that was missed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from compressor import api, artifact
from compressor.measure.statistics import Interval
from compressor.quantizers._targets import cpu
from compressor.stages import prune as pruning
from compressor.stages import quantize as quantizing
from compressor.training import engine
from tests.small import typed, write_project


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small network that knows the task."""
    project = write_project(tmp_path_factory.mktemp("links"))
    options = {"epochs": 3, "batch_size": 32, "lr": 0.01}
    data = f"npz:{project / 'data.npz'}"
    return api.train(project / "teacher.py", data=data, runs=project / "runs", options=options)


@pytest.fixture(scope="module")
def quantized(trained):
    """The same in int8, whatever it costs, in a run of its own."""
    run = Path(shutil.copytree(trained.path.parent, trained.path.parent.with_name("quantized")))
    return api.quantize(run / trained.path.name, options={"calibration": 32, "mixed": False})


def test_prune_shows_each_round_and_what_to_type_next(trained, monkeypatch, capsys):
    cut = ("--macs", "0.5", "--rounds", "2", "--epochs", "2", "--batch-size", "32", "--round-to", "1")
    assert typed(monkeypatch, "prune", str(trained.path), *cut) == 0

    shown = capsys.readouterr()
    assert "round 1" in shown.out
    assert "round 2" in shown.out
    assert "times fewer" in shown.out
    assert "next: compress quantize" in shown.err


def test_a_target_out_of_reach_ends_with_one_and_keeps_the_best(trained, monkeypatch, capsys):
    assert typed(monkeypatch, "prune", str(trained.path), "--macs", "0.01", "--rounds", "1", "--epochs", "0") == 1

    assert "macs = 0.01, reached" in capsys.readouterr().err
    assert (trained.path.parent / "prune" / "manifest.json").is_file()


@pytest.mark.parametrize("spoilt", [1, 2])
def test_a_round_that_ruins_the_network_is_not_kept_and_no_further_one_is_made(trained, monkeypatch, capsys, spoilt):
    """Recovery of one round ends with weights of nothing; ten points are the limit where none is stated."""
    run = Path(shutil.copytree(trained.path.parent, trained.path.parent.with_name(f"ruined {spoilt}")))
    number = iter(range(1, 4))

    def fit(job):
        found = engine.fit(job)
        if next(number) == spoilt:
            for parameter in found.network.parameters():
                parameter.data.zero_()
        return found

    monkeypatch.setattr(pruning, "engine", SimpleNamespace(fit=fit))
    cut = ("--macs", "0.5", "--rounds", "3", "--epochs", "3", "--round-to", "1")
    assert typed(monkeypatch, "prune", str(run / trained.path.name), *cut) == 1

    shown = capsys.readouterr()
    assert "more than 10 (no max_drop is stated, and what costs more than that is no gain)" in shown.out
    assert ("there is nothing to gain by this cut, and the network is as it was" in shown.out) == (spoilt == 1)
    made = artifact.read(run / "prune").manifest
    assert [entry["kept"] for entry in made.details["pruning"]["rounds"]] == [True] * (spoilt - 1) + [False]
    assert made.metrics["test"]["metrics"]["accuracy"] > 0.9, "what is left is the network before that round"


def test_a_cut_that_is_not_trained_back_is_for_the_user_to_judge(trained, monkeypatch):
    run = Path(shutil.copytree(trained.path.parent, trained.path.parent.with_name("cut alone")))
    cut = ("--macs", "0.5", "--rounds", "1", "--epochs", "0", "--round-to", "1", "--criterion", "random")

    assert typed(monkeypatch, "prune", str(run / trained.path.name), *cut) == 0
    assert artifact.read(run / "prune").manifest.details["pruning"]["rounds"][0]["kept"]


def test_two_targets_at_once_are_refused_before_anything_is_spent(trained, monkeypatch, capsys):
    assert typed(monkeypatch, "prune", str(trained.path), "--macs", "0.5", "--params", "0.5") == 2

    assert "a cut has one target" in capsys.readouterr().err


@pytest.mark.parametrize("criterion", ["l3", "mine.py:Own"])
def test_an_unknown_criterion_is_named(trained, monkeypatch, capsys, criterion):
    assert typed(monkeypatch, "prune", str(trained.path), "--criterion", criterion) == 2

    assert "prune.criterion" in capsys.readouterr().err


def test_quantize_prints_its_decisions_and_its_result_as_json(trained, monkeypatch, capsys):
    assert typed(monkeypatch, "quantize", str(trained.path), "--calibration", "32", "--all", "--json") == 0

    printed = json.loads(capsys.readouterr().out)
    told = printed["details"]["quantization"]
    assert told["method"] == "static"
    assert {layer["op"] for layer in told["layers"]} == {"Conv", "Gemm"}
    assert {decision["what"] for decision in printed["decisions"]} >= {"target CPU", "result"}


def test_a_latency_that_no_model_has_is_a_missed_budget(trained, monkeypatch, capsys):
    budget = ("--max-latency-ms", "0.000001", "--calibration", "32")
    assert typed(monkeypatch, "quantize", str(trained.path), *budget) == 1

    shown = capsys.readouterr()
    assert "max_latency_ms = 1e-06 ms, measured" in shown.err
    assert "result:" in shown.out


def test_what_is_kept_for_its_size_and_what_judged_the_drop_are_said(trained, monkeypatch, capsys):
    """Speed is as given here: what this machine measures of so small a network is not what the test is about."""
    monkeypatch.setattr(quantizing, "paired_speedup", lambda *_, **__: Interval(1.0, 0.96, 1.04))
    monkeypatch.setattr(quantizing, "_STARTS", 1)
    assert typed(monkeypatch, "quantize", str(trained.path), "--calibration", "32", "--max-drop", "100") == 0

    shown = capsys.readouterr()
    assert "result: static — kept for its size, no gain in speed was shown: 1.00× (0.96–1.04)" in shown.out
    judged = "drop judged on: 26 validation samples — a drop of less than 23.1 points cannot be told from chance"
    assert judged in shown.out
    assert "drop judged on" not in shown.err, "a drop of 100 points is easily told"
    told = artifact.read(trained.path.parent / "quantize").manifest.details["quantization"]
    assert (told["kept_for"], told["drop_judged_on"][:21]) == ("size", "26 validation samples")


def test_a_model_for_another_cpu_is_not_judged_by_its_time_here(trained, monkeypatch, capsys):
    assert typed(monkeypatch, "quantize", str(trained.path), "--target", "arm64", "--calibration", "32") == 0

    assert "speed there is for bench to measure there" in capsys.readouterr().out


def test_a_latency_budget_of_another_cpu_is_missed_as_not_measured(trained, monkeypatch, capsys):
    other = "arm64" if cpu("this").name != "arm64" else "x86-avx2"
    budget = ("--target", other, "--max-latency-ms", "1000", "--calibration", "32")
    assert typed(monkeypatch, "quantize", str(trained.path), *budget) == 1

    assert "max_latency_ms = 1000 ms, not measured" in capsys.readouterr().err


def test_inspect_shows_widths_before_and_after(trained, monkeypatch, capsys):
    cut = ("--macs", "0.5", "--rounds", "1", "--epochs", "0", "--round-to", "1")
    assert typed(monkeypatch, "prune", str(trained.path), *cut) == 0
    capsys.readouterr()

    assert typed(monkeypatch, "inspect", str(trained.path.parent / "prune")) == 0

    shown = capsys.readouterr().out
    assert "Widths before and after pruning" in shown
    assert "Layers that were not cut" in shown


def test_samples_of_one_class_are_nothing_to_learn_from(tmp_path, monkeypatch, capsys):
    np.savez(tmp_path / "one.npz", x_train=np.zeros((20, 3), np.float32), y_train=np.zeros(20, np.int64))
    (tmp_path / "m.py").write_text(
        "from torch import nn\n\n\ndef build(num_classes):\n    return nn.Linear(3, num_classes)\n"
    )
    data, runs = f"npz:{tmp_path / 'one.npz'}", str(tmp_path / "runs")
    words = ["--model", str(tmp_path / "m.py"), "--data", data, "--runs", runs]

    assert typed(monkeypatch, "train", *words, "--epochs", "1") == 2

    assert "all samples are of one class" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "where", "told"),
    [
        (("export", "{}", "--arch", "s.py"), "--arch", "is an artifact, which knows its architecture"),
        (("prune", "{}", "--teacher-arch", "s.py"), "--teacher-arch", "which knows its architecture"),
        (("prune", "{}", "--teacher", "{}", "--teacher-arch", "s.py"), "--teacher-arch", "knows its architecture"),
        (("export", "{}", "--runs", "elsewhere"), "--runs", "lies beside it, not in elsewhere"),
        (("export", "{}", "--set", "name=other"), "--set name", "lies beside it, not in other"),
        (("quantize", "{}", "--set", "runs=elsewhere"), "--set runs", "lies beside it, not in elsewhere"),
        (("quantize", "{}/net.onnx", "--teacher", "{}"), "--teacher", "is ONNX, which is quantized as it is"),
        (("quantize", "{}/net.onnx", "--arch", "s.py"), "--arch", "is ONNX, which is quantized as it is"),
    ],
)
def test_what_would_be_dropped_is_refused(trained, tmp_path, monkeypatch, capsys, words, where, told):
    copy = Path(shutil.copytree(trained.path, tmp_path / "runs" / "teacher" / "train"))
    (copy / "net.onnx").touch()

    assert typed(monkeypatch, *(word.replace("{}", str(copy)) for word in words)) == 2

    said = capsys.readouterr().err.replace("\n", " ")
    assert f"error: {where}: " in said
    assert told in said
    assert [folder.name for folder in copy.parent.iterdir()] == ["train"]


def test_the_place_of_an_artifact_may_be_said(trained, monkeypatch, capsys):
    place = ("--runs", str(trained.path.parent.parent), "--set", f"name={trained.path.parent.name}")

    assert typed(monkeypatch, "export", str(trained.path), *place, "--json") == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(trained.path.parent / "export-teacher")


@pytest.mark.parametrize("method", ["static", "dynamic", "qat", "weight_only", "float16"])
def test_what_is_quantized_already_is_not_quantized_again(quantized, monkeypatch, tmp_path, capsys, method):
    """Neither as an artifact nor as a file; nothing is adopted, and the float network is named where it is known."""
    data = ("--data", quantized.manifest.settings["data"]["source"], "--runs", str(tmp_path / "runs"))
    file = shutil.copyfile(quantized.file("model.onnx"), tmp_path / "int8.onnx")
    for source, hint in (
        ([str(quantized.path)], f"compress quantize {quantized.parent('network').path}"),
        ([str(file), *data], "name the float model that it was made from"),
    ):
        assert typed(monkeypatch, "quantize", *source, "--method", method) == 2

        said = capsys.readouterr().err.replace("\n", " ")
        assert "is quantized already: it holds DequantizeLinear, QuantizeLinear" in said
        assert hint in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("kind", ["last_batch", "born_again"])
def test_an_architecture_without_a_network_is_refused(monkeypatch, capsys, kind):
    words = ("--teacher-kind", kind, "--teacher-arch", "nonsense.py", "--student", "zoo:resnet8", "--data", "digits")
    assert typed(monkeypatch, "distill", *words) == 2

    assert "--teacher-arch: there is no network that it could be the architecture of" in capsys.readouterr().err

"""Chains of several links: distil, prune, quantize; what each leaves, and what the next makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from compressor import api, artifact, processes
from compressor import recipe as recipes
from compressor.errors import InputError, RecipeError
from compressor.measure.statistics import Interval
from compressor.models import checkpoint
from compressor.pipeline import compression
from compressor.report import write as reports
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.stages import quantize as quantizing
from tests.small import recipe, write_project

PRUNE = {"macs": 0.6, "epochs": 2, "rounds": 2, "batch_size": 32, "round_to": 1}
QUANTIZE = {"calibration": 32, "max_drop": 5.0}


@pytest.fixture(scope="module")
def chained(tmp_path_factory):
    """Distilled, pruned and quantized: (project folder, what `api.run` returned)."""
    monkeypatch = pytest.MonkeyPatch()
    project = write_project(tmp_path_factory.mktemp("chained"))
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))
    done = api.run(recipe(project, prune=PRUNE, quantize=QUANTIZE))
    monkeypatch.undo()
    return project, done


@pytest.fixture(autouse=True)
def at_home(chained, monkeypatch):
    """Use the trust store and the caches of the chained run."""
    monkeypatch.setenv("COMPRESS_HOME", str(chained[0] / "home"))


def network_of(made: artifact.Artifact) -> torch.nn.Module:
    return checkpoint.load(made).network


def test_every_link_leaves_what_the_next_one_takes(chained):
    _, done = chained

    assert [(role, made.manifest.stage) for role, made in done.artifacts.items()] == [
        ("teacher", "train"),
        ("control", "train"),
        ("distilled", "distill"),
        ("pruned", "prune"),
    ]
    assert done.onnx["student"].manifest.stage == "quantize"
    assert done.onnx["student"].parent("source").path == done.onnx["pruned"].path


def test_the_pruned_network_is_as_small_as_asked_for_and_still_knows_the_task(chained):
    _, done = chained
    pruned = done.artifacts["pruned"].manifest
    before, after = pruned.details["pruning"]["macs"]

    assert after <= 0.6 * before
    assert pruned.details["pruning"]["met"]
    assert pruned.metrics["test"]["metrics"]["accuracy"] > 0.9


def test_rounds_say_what_they_cost_before_and_after_recovery(chained):
    _, done = chained
    rounds = done.artifacts["pruned"].manifest.details["pruning"]["rounds"]

    assert [entry["round"] for entry in rounds] == [1, 2]
    assert rounds[0]["share"] > rounds[1]["share"]
    assert all(0 <= entry[when] <= 1 for entry in rounds for when in ("before", "after"))


def test_the_quantized_model_is_judged_on_the_whole_test_set_and_says_for_which_cpu_it_is(chained):
    _, done = chained
    made = done.onnx["student"].manifest
    told = made.details["quantization"]

    assert made.metrics["test"]["samples"] == 96
    assert told["target"]["name"] in ("x86-avx2", "x86-vnni", "arm64")
    assert told["checked_on_cpu"] == made.machine["cpu"]
    assert {layer["op"] for layer in told["layers"]} == {"Conv", "Gemm"}
    assert {entry.key for entry in onnx.load(done.onnx["student"].file("model.onnx")).metadata_props} >= {
        "compress.classes",
        "compress.input",
        "compress.quantization",
    }


def test_measurements_hold_a_row_for_every_link(chained):
    _, done = chained
    roles = [entry["role"] for entry in api.measurements_of(done.measurements)["candidates"]]

    assert roles == ["teacher", "control", "distilled", "pruned", "student"]


def test_the_report_holds_each_link_against_the_one_before(chained, tmp_path):
    _, done = chained
    page = (reports.write(done.measurements, tmp_path / "report").path / "report.html").read_text(encoding="utf-8")

    assert "What each link gave and cost" in page
    assert "How much each layer can lose" in page
    assert "Layers before and after pruning" in page


def test_a_second_run_does_nothing_again(chained, capsys):
    project, _ = chained
    capsys.readouterr()

    api.run(recipe(project, prune=PRUNE, quantize=QUANTIZE))

    said = capsys.readouterr().err
    for link in ("prune", "quantize", "export-pruned", "bench"):
        assert f"{link}: unchanged" in said


def test_every_artifact_gives_the_same_answers_in_a_fresh_process(chained):
    from benchmarks import reload

    _, done = chained
    found = reload.check([done.folder])

    assert {"small/prune", "small/quantize", "small/export-pruned"} <= set(found)
    assert all(found.values())


def test_a_pruned_network_is_pruned_again_trained_and_exported_like_any_other(chained):
    _, done = chained
    pruned = done.artifacts["pruned"]

    again = api.prune(pruned.path, options={**PRUNE, "macs": 0.7, "epochs": 0, "rounds": 1})
    exported = api.export(again.path)

    assert again.path.name == "prune-2"
    assert pruned.path.is_dir()
    before, after = again.manifest.details["pruning"]["macs"]
    assert after <= 0.7 * before
    assert exported.manifest.details["parity"]["agreement"] == 1.0


def test_a_run_opened_again_finds_all_its_links(chained):
    _, done = chained

    measured = api.bench(
        done.folder, options={"profiles": ["edge"], "min_seconds": 0.05, "min_samples": 40, "blocks": 5, "starts": 1}
    )

    roles = [entry["role"] for entry in api.measurements_of(measured)["candidates"]]
    assert roles == ["teacher", "control", "distilled", "pruned", "student"]


def test_the_pruned_teacher_can_be_the_student(tmp_path):
    project = write_project(tmp_path)
    raw = recipe(project, prune={**PRUNE, "epochs": 0, "rounds": 1}, stages=["train", "prune", "distill", "export"])
    del raw["student"]
    raw["distill"] = {"epochs": 1, "batch_size": 32, "lr": 0.001}

    done = api.run(raw)

    assert list(done.artifacts) == ["teacher", "pruned", "student"]
    widths = [sum(p.numel() for p in network_of(done.artifacts[role]).parameters()) for role in ("pruned", "student")]
    assert widths[0] == widths[1]
    assert done.artifacts["student"].parent("student").path == done.artifacts["pruned"].path


BRIEF = {"epochs": 1, "batch_size": 32}
WIDE = """
from torch import nn

def build(num_classes: int, in_channels: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_channels, 96, 3, padding=1), nn.BatchNorm2d(96), nn.ReLU(),
        nn.Conv2d(96, 96, 3, padding=1), nn.BatchNorm2d(96), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, num_classes),
    )
"""
UNRECOVERED = {"epochs": 0, "rounds": 1, "round_to": 24}


@pytest.fixture(scope="module")
def wide(chained) -> artifact.Artifact:
    """A network whose weights outweigh everything else in its file."""
    project, _ = chained
    (project / "wide.py").write_text(WIDE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))
        return api.train(project / "wide.py", data=f"npz:{project / 'data.npz'}", runs=project / "wide", options=BRIEF)


def test_latency_is_measured_and_the_table_is_in_milliseconds_that_were(wide):
    pruned = api.prune(wide.path, options={"latency": 0.6, **UNRECOVERED})

    told = pruned.manifest.details["pruning"]
    assert told["target"] == "latency"
    assert told["reached"] < 0.75 * told["start"]
    assert told["macs"][1] < told["macs"][0]


@pytest.mark.parametrize(("form", "bytes_each"), [("float", 4), ("int8", 1)])
def test_size_is_that_of_the_form_that_ships(wide, form, bytes_each):
    pruned = api.prune(wide.path, options={"size_mb": 0.05, "measured_as": form, **UNRECOVERED})

    told = pruned.manifest.details["pruning"]
    assert told["measured_as"] == form
    assert told["start"] == pytest.approx(bytes_each * told["params"][0] / 1e6, rel=0.2)


@pytest.mark.parametrize(
    ("stages", "method", "form"),
    [
        (["distill", "prune", "quantize"], "static", "int8"),
        (["distill", "prune", "quantize"], "float16", "float"),
        (["distill", "prune"], "static", "float"),
    ],
)
def test_a_cut_is_measured_in_the_form_that_the_recipe_ends_with(tmp_path, stages, method, form):
    planned = recipes.parse(
        recipe(tmp_path, stages=stages, prune={"latency": 0.5}, quantize={"method": method}), source="a test"
    )

    settled, (decision,) = compression.measured_as_shipped(planned)

    assert settled.measured_as == decision.choice == form


def test_a_budget_that_a_round_breaks_keeps_the_round_before(chained):
    _, done = chained

    made = api.prune(
        done.artifacts["distilled"].path,
        options={"macs": 0.3, "epochs": 0, "rounds": 3, "round_to": 1, "max_drop": 0.0, "criterion": "random"},
    )

    rounds = made.manifest.details["pruning"]["rounds"]
    if rounds[-1]["kept"]:
        pytest.fail("a quarter of a network this small can go at random without a point lost: the test tests nothing")
    assert not made.manifest.details["pruning"]["met"]
    assert [decision for decision in made.manifest.decisions if decision.what == "rounds"]


def test_a_file_that_is_small_enough_already_is_refused(chained):
    _, done = chained

    with pytest.raises(InputError, match="already, below the 5 MB asked for"):
        api.prune(done.artifacts["distilled"].path, options={"size_mb": 5.0})


def test_when_nothing_beats_float_the_result_is_the_float_model(chained, monkeypatch):
    """Float16 is slower than float32 on a CPU without its arithmetic: by itself it is not shipped, asked for it is."""
    _, done = chained
    slow = Interval(0.8, 0.79, 0.81)
    monkeypatch.setattr(quantizing, "paired_speedup", lambda *_, **__: slow)

    made = api.quantize(done.artifacts["distilled"].path, options={"method": "float16", "max_drop": 0.0})
    of_float = answers(made)
    forced = api.quantize(done.artifacts["distilled"].path, options={"method": "float16", "mixed": False})

    result = {decision.what: decision for decision in made.manifest.decisions}["result"]
    assert (result.choice, made.manifest.details["result"]) == ("float", "float")
    assert "slower here" in result.reason
    assert not made.manifest.metrics["budgets_met"]
    assert of_float == answers(done.onnx["distilled"])
    assert forced.manifest.details["result"] == "float16"
    assert answers(forced) != of_float


def answers(made: artifact.Artifact) -> bytes:
    runtime = OrtCpu(threads=1)
    runtime.load(made.path)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, 8, 8), dtype=np.uint8)
    return runtime(pixels).tobytes()


@pytest.mark.parametrize("stages", [["distill", "quantize", "prune"], ["quantize", "distill"]])
def test_impossible_orders_are_refused_before_anything_is_spent(tmp_path, stages):
    project = write_project(tmp_path)

    with pytest.raises(RecipeError, match="cannot be trained"):
        api.run(recipe(project, stages=stages, prune=PRUNE, quantize=QUANTIZE))
    assert not (project / "runs").exists()


def test_links_that_measure_run_in_one_process(tmp_path, monkeypatch):
    project = write_project(tmp_path)
    monkeypatch.setattr(processes, "world_size", lambda: 2)

    with pytest.raises(InputError, match="'prune' runs in one process, this job has 2"):
        api.run(recipe(project, prune=PRUNE))


PRUNES_AND_MAY_DIE = """
import os, signal, sys
from compressor import api
from compressor.stages import prune

real = prune.engine.fit

def fit_then_die(job):
    trained = real(job)
    if job.title == "prune 2/2":
        os.kill(os.getpid(), signal.SIGKILL)
    return trained

if sys.argv[2] == "die":
    prune.engine.fit = fit_then_die
api.prune(sys.argv[1], options={"macs": 0.6, "epochs": 2, "rounds": 2, "batch_size": 32, "round_to": 1})
"""


def test_a_run_that_was_killed_goes_on_with_the_round_it_was_in_and_ends_the_same(chained):
    project, done = chained
    source = api.distill(
        done.artifacts["teacher"].path,
        project / "student.py",
        data=f"npz:{project / 'data.npz'}",
        name="killed",
        runs=project / "runs",
        options={"epochs": 1, "batch_size": 32},
    )
    folder, environment = source.path.parent, {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def prune_in_a_process(how: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-c", PRUNES_AND_MAY_DIE, str(source.path), how]
        return subprocess.run(line, env=environment, capture_output=True, text=True)

    whole = prune_in_a_process("live")
    assert whole.returncode == 0, whole.stderr
    (folder / "prune").rename(folder.parent / "whole")

    died = prune_in_a_process("die")
    assert died.returncode == -9, died.stderr
    assert json.loads((folder / ".prune.state" / "round-1" / "round.json").read_text())["record"]["kept"]

    again = prune_in_a_process("live")
    assert again.returncode == 0, again.stderr
    assert "prune 1/2  epoch" not in again.stderr
    weights = [(place / "weights.safetensors").read_bytes() for place in (folder.parent / "whole", folder / "prune")]
    assert weights[0] == weights[1]
    assert not (folder / ".prune.state").exists()


def test_training_with_the_rounding_ends_in_an_int8_model_that_answers_as_it_was_trained_to(chained):
    _, done = chained

    made = api.quantize(
        done.artifacts["distilled"].path,
        options={"method": "qat", "epochs": 2, "batch_size": 32, "calibration": 64, "mixed": False},
    )

    assert made.manifest.details["result"] == "qat"
    assert len(made.manifest.details["curve"]) == 2
    assert made.manifest.metrics["test"]["metrics"]["accuracy"] > 0.9
    kinds = {node.op_type for node in onnx.load(made.file("model.onnx")).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert {entry.key for entry in onnx.load(made.file("model.onnx")).metadata_props} >= {"compress.classes"}
    assert not (made.path.parent / ".quantize.state").exists()


def test_a_model_that_takes_camera_pixels_is_quantized_with_its_input_as_it_was(chained):
    _, done = chained

    made = api.quantize(
        done.artifacts["distilled"].path,
        options={"calibration": 32, "mixed": False},
        assignments=["export.input=uint8-nhwc"],
    )

    model = onnx.load(made.file("model.onnx"))
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert made.manifest.details["input_contract"]["layout"] == "NHWC"
    assert made.manifest.details["parity"]["agreement"] > 0.9

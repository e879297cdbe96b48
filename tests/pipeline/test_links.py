"""Chains of several links: distil, prune, quantize; what each leaves, and what the next makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

from compressor import api, artifact, processes
from compressor import recipe as recipes
from compressor.errors import InputError, ModelError, RecipeError
from compressor.measure import costs
from compressor.measure.statistics import Interval
from compressor.models import checkpoint, onnx_copy
from compressor.pipeline import compression
from compressor.report import write as reports
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.stages import prune as pruning
from compressor.stages import quantize as quantizing
from compressor.training.rounds import Rounds
from tests.named import predicted
from tests.small import QUICK_BENCH, recipe, write_project

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
    keys = {entry.key for entry in onnx.load(done.onnx["student"].file("model.onnx")).metadata_props}
    assert keys >= {"compress.classes", "compress.input"}
    assert ("compress.quantization" in keys) == (made.details["result"] == "static")


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


@pytest.mark.slow
def test_a_run_opened_again_finds_all_its_links(chained):
    _, done = chained

    measured = api.bench(done.folder, options=QUICK_BENCH | {"runtimes": ["torch", "ort_cpu"]})

    roles = [entry["role"] for entry in api.measurements_of(measured)["candidates"]]
    assert roles == ["teacher", "control", "distilled", "pruned", "student"]


@pytest.mark.slow
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


@pytest.mark.slow
def test_latency_is_measured_and_the_table_is_in_milliseconds_that_were(wide):
    pruned = api.prune(wide.path, options={"latency": 0.6, **UNRECOVERED})

    told = pruned.manifest.details["pruning"]
    assert told["target"] == "latency"
    assert told["reached"] < 0.75 * told["start"]
    assert told["macs"][1] < told["macs"][0]


@pytest.mark.slow
def test_size_is_that_of_the_form_that_ships(wide):
    pruned = api.prune(wide.path, options={"size_mb": 0.05, "measured_as": "int8", **UNRECOVERED})

    told = pruned.manifest.details["pruning"]
    assert told["measured_as"] == "int8"
    assert told["start"] == pytest.approx(told["params"][0] / 1e6, rel=0.2), "one byte for each weight"


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


QUADRANTS = """
from torch import nn

def build(num_classes: int, in_channels: int = 1) -> nn.Module:
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, num_classes))
"""


def test_a_budget_that_a_round_breaks_keeps_the_round_before(chained):
    """Four hidden units tell the classes apart and four count for nothing: cut to six or four loses nothing, to two half."""
    project, _ = chained
    (project / "quadrants.py").write_text(QUADRANTS, encoding="utf-8")
    strong, weak = torch.eye(4), 1e-3 * torch.eye(4)
    weights = {
        "2.weight": torch.cat([strong, weak]),
        "2.bias": torch.cat([torch.full((4,), 10.0), torch.full((4,), 1e-2)]),
        "4.weight": torch.cat([strong, weak], dim=1),
        "4.bias": torch.zeros(4),
    }
    torch.save(weights, project / "quadrants.pt")

    made = api.prune(
        project / "quadrants.pt",
        arch=str(project / "quadrants.py"),
        data=f"npz:{project / 'data.npz'}",
        runs=project / "runs",
        options={"macs": 0.3, "epochs": 0, "rounds": 3, "round_to": 1, "max_drop": 0.0},
    )

    told = made.manifest.details["pruning"]
    assert [each["kept"] for each in told["rounds"]] == [True, True, False]
    assert told["rounds"][-1]["drop"] > 25
    assert not told["met"]
    assert [each.choice for each in made.manifest.decisions if each.what == "rounds"] == ["2"]


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
    told_of_float = {entry.key for entry in onnx.load(made.file("model.onnx")).metadata_props}
    forced = api.quantize(done.artifacts["distilled"].path, options={"method": "float16", "mixed": False})

    result = {decision.what: decision for decision in made.manifest.decisions}["result"]
    assert (result.choice, made.manifest.details["result"]) == ("float", "float")
    assert "slower here" in result.reason
    assert made.manifest.metrics["budgets_met"], "float16 keeps to the drop; it is its speed that it is not shipped for"
    assert "compress.quantization" not in told_of_float
    assert of_float == answers(done.onnx["distilled"])
    assert forced.manifest.details["result"] == "float16"
    assert answers(forced) != of_float


def answers(made: artifact.Artifact) -> bytes:
    runtime = OrtCpu(threads=1)
    runtime.load(made.path)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, 8, 8), dtype=np.uint8)
    return predicted(runtime, pixels).tobytes()


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
from tests.named import predicted
from tests.named import predicted

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
    assert "compress.quantization" in {entry.key for entry in onnx.load(made.file("model.onnx")).metadata_props}
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


@pytest.fixture
def clock(monkeypatch):
    """A network takes 1 ms for each million of its parameters, times `clock.scale`; nothing is exported or run."""
    told = SimpleNamespace(scale=1.0)

    def write(network, file, **_):
        file.write_text(str(sum(parameter.numel() for parameter in network.parameters())))

    def time_models(files, **_):
        taken = {name: told.scale * float(file.read_text()) / 1e6 for name, file in files.items()}
        return {
            name: SimpleNamespace(samples_ms=np.full(20, ms), blocks=tuple(np.full(2, ms) for _ in range(10)))
            for name, ms in taken.items()
        }

    monkeypatch.setattr(costs.onnx_file, "write", write)
    monkeypatch.setattr(costs, "time_models", time_models)
    return told


TWO_ROUNDS = {"epochs": 2, "rounds": 2, "batch_size": 64, "round_to": 8}


def stopped_before(name: str, monkeypatch) -> None:
    """End a prune when it is about to keep something under `name`."""
    real = Rounds.keep

    def keep(self, kept, *given, **named):
        if kept == name:
            raise KeyboardInterrupt
        return real(self, kept, *given, **named)

    monkeypatch.setattr(Rounds, "keep", keep)


def test_a_latency_cut_that_goes_on_measures_on_the_scale_it_began_with(wide, clock):
    with pytest.MonkeyPatch.context() as broken:
        stopped_before("cut-2", broken)
        with pytest.raises(KeyboardInterrupt):
            api.prune(wide.path, options={"latency": 0.5, **TWO_ROUNDS, "epochs": 0})
    clock.scale = 3.0  # the machine is slower by now

    told = api.prune(wide.path, options={"latency": 0.5, **TWO_ROUNDS, "epochs": 0}).manifest.details["pruning"]

    before, after = told["params"]
    assert told["met"]
    assert told["start"] == pytest.approx(before / 1e6)
    assert told["reached"] == pytest.approx(after / 1e6)


def test_a_round_that_misses_its_time_is_not_the_last_while_more_can_be_cut(wide, clock, monkeypatch):
    real, rounds = pruning.aim.by_latency, []

    def first_one_misses(*given, **named):
        cut = real(*given, **named)
        rounds.append(cut)
        return replace(cut, met=False, short="8 candidates were timed") if len(rounds) == 1 else cut

    monkeypatch.setattr(pruning.aim, "by_latency", first_one_misses)

    made = api.prune(wide.path, options={"latency": 0.6, **TWO_ROUNDS, "epochs": 0})

    told = made.manifest.details["pruning"]
    assert [entry["met"] for entry in told["rounds"]] == [False, True]
    assert told["met"]
    assert not [decision for decision in made.manifest.decisions if decision.what == "rounds"]


def test_what_a_round_was_trained_to_is_kept_until_the_round_is(wide, monkeypatch):
    options = {"macs": 0.7, **TWO_ROUNDS}
    with pytest.MonkeyPatch.context() as broken:
        stopped_before("round-1", broken)
        with pytest.raises(KeyboardInterrupt):
            api.prune(wide.path, options=options)
    state = wide.path.parent / ".prune.state"
    assert (state / "training-1").is_dir()

    stopped_before("round-2", monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        api.prune(wide.path, options=options)

    assert not (state / "training-1").exists()
    assert (state / "round-1").is_dir()


def test_a_largest_drop_without_validation_samples_is_refused_before_anything_is_spent(wide):
    with pytest.raises(InputError, match=r"max_drop = 1 is judged on validation samples.*keep a val_share"):
        api.prune(wide.path, options={"macs": 0.7, "max_drop": 1.0}, assignments=["data.val_share=0"])


def test_a_chain_that_begins_by_pruning_several_networks_is_refused(chained):
    project, done = chained
    model = str(done.artifacts["teacher"].path)
    raw = recipe(project, name="several", stages=["prune", "export"], prune=PRUNE)
    raw["teacher"] = {"model": model, "kind": "ensemble", "members": [{"model": model}]}
    del raw["student"], raw["train"], raw["distill"]

    with pytest.raises(RecipeError, match="'prune' changes a network, and a teacher of the kind 'ensemble' is several"):
        api.run(raw)


@pytest.fixture
def outside(chained, tmp_path) -> Path:
    """The exported network with its weights in a file beside it, as torch's exporter leaves it by default."""
    _, done = chained
    file = tmp_path / "theirs" / "model.onnx"
    file.parent.mkdir()
    model = onnx.load(artifact.read(done.onnx["distilled"].path).file("model.onnx"))
    onnx.save(model, file, save_as_external_data=True, location="model.onnx.data", size_threshold=64)
    return file


def test_a_model_with_its_weights_in_a_file_beside_it_is_quantized(chained, outside, tmp_path):
    project, _ = chained

    made = api.quantize(
        outside,
        data=f"npz:{project / 'data.npz'}",
        runs=tmp_path / "runs",
        options={"calibration": 32, "mixed": False},
    )

    told = made.manifest.details["quantization"]
    assert made.manifest.details["result"] == "static"
    assert told["float_size_bytes"] > 0.9 * (outside.parent / "model.onnx.data").stat().st_size
    assert made.manifest.metrics["test"]["metrics"]["accuracy"] > 0.9


def test_a_float_model_that_ships_has_its_weights_in_it(chained, outside, tmp_path, monkeypatch):
    """Its artifact has them beside it, as all of models from elsewhere had once."""
    project, _ = chained
    told = {"data": f"npz:{project / 'data.npz'}", "runs": tmp_path / "runs", "options": {"method": "float16"}}
    with pytest.MonkeyPatch.context() as small:
        small.setattr(onnx_copy, "_LARGEST", 1000)
        with pytest.raises(ModelError, match="above 2 GB"):
            api.quantize(outside, **told)
    monkeypatch.setattr(quantizing, "paired_speedup", lambda *_, **__: Interval(0.8, 0.79, 0.81))

    made = api.quantize(outside, **told)

    assert made.manifest.details["result"] == "float"
    assert [file.suffix for file in made.parent("source").path.glob("model.*")].count(".data") == 1
    assert answers(made) == answers(made.parent("source"))
    assert set(made.manifest.files) == {"model.onnx"}


def test_training_with_rounding_asks_what_it_is_checked_on_before_it_trains(chained, monkeypatch):
    _, done = chained
    monkeypatch.setattr(quantizing, "train_quantized", lambda *_, **__: pytest.fail("it was trained"))

    with pytest.raises(InputError, match="calibration = 256 leaves no sample to check with"):
        api.quantize(
            done.artifacts["distilled"].path,
            options={"method": "qat", "epochs": 1, "calibration": 256},
            assignments=["data.val_share=0"],
        )

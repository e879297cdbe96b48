"""The proof of the house: a task, a kind of input and a format that nobody here knows, one file each, through every stage.

A probe reads a field on a grid and two settings of the instrument; what is wanted is the height at every cell, in meters.
Nothing of it is a class, a share of right samples or one array, and less is better.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from compressor import api
from compressor.runtimes.ort_cpu import OrtCpu
from tests.pipeline.test_pack import run_there
from tests.small import QUICK_BENCH

FORMAT = """
import numpy as np

from compressor.data.samples import ArraySamples, Splits, TargetTable


def load():
    '''Echoes on a grid, the gain and the offset of the probe that heard them, and the heights they came from.'''
    def split(count, seed):
        generator = np.random.default_rng(seed)
        heights = generator.normal(size=(count, 1, 6, 6)).astype(np.float32)
        probe = generator.uniform(0.5, 1.5, (count, 2)).astype(np.float32)
        echoes = heights * probe[:, :1, None, None] + probe[:, 1:, None, None]
        echoes = echoes + 0.05 * generator.normal(size=echoes.shape)
        return Echoes({"echoes": echoes.astype(np.float32), "probe": probe}, TargetTable({"heights": heights[:, 0]}))
    return Splits(("height",), split(192, 0), None, split(64, 1), "e" * 64)


class Echoes(ArraySamples):
    '''Says which kind of input its echoes are.'''

    def __init__(self, inputs, table):
        super().__init__(inputs, table)
        from compressor.tensors import Schema, TensorSpec

        kind = __file__.replace("soundings.py", "echoes.py") + ":Grid"
        self.inputs = Schema.of(
            TensorSpec("echoes", "float32", (1, 6, 6), kind=kind), TensorSpec("probe", "float32", (2,))
        )
"""
KIND = '''
from compressor.inputs._contract import InputKind


class Grid(InputKind):
    """Echoes on a grid `[1, H, W]`, which are no picture."""

    layout = "CHW"
    guide = "Echoes come from the probe, row by row."
'''
TASK = '''
"""The height at every cell."""

from __future__ import annotations

import numpy as np

from compressor.errors import ModelError
from compressor.scores import Metric
from compressor.tasks._contract import TaskBase
from compressor.tensors import LOGITS, Rows, Schema, TensorSpec


class Heights(TaskBase):
    """The height at every cell, in meters; judged by the mean absolute error."""

    primary = "mae"
    gives = ("rows:values", "maps")

    def targets(self, classes):
        return Schema.of(TensorSpec("heights", "float32", ("height", "width")))

    def outputs(self, classes, inputs):
        return Schema.of(TensorSpec(LOGITS, "float32", (1, "height", "width")))

    def hard_losses(self, outputs, targets):
        return (outputs[LOGITS][:, 0] - targets["heights"]).square().mean(dim=(1, 2))

    def rows(self, outputs, batch):
        values = outputs[LOGITS]
        return Rows(values.reshape(-1, 1), kind="values", per_sample=values[0].numel())

    def metric(self, name):
        return Metric(name, "m", larger_is_better=False)

    def findings(self, outputs, targets):
        off = np.abs(outputs[LOGITS][:, 0].astype(np.float64) - targets["heights"])
        return {"off": off.mean(axis=(1, 2))}

    def alike(self, one, other):
        return (np.abs(one[LOGITS] - other[LOGITS]) < 0.01).mean(axis=(1, 2, 3))

    def metrics(self, findings):
        return {"mae": float(findings["off"].mean())}

    def statistics(self, findings):
        return np.stack([findings["off"], np.ones(len(findings["off"]))], axis=1)

    def of_sums(self, sums_RS):
        return sums_RS[:, 0] / sums_RS[:, 1]

    def applied(self):
        return "nothing: outputs are meters"

    def check_outputs(self, shape, num_classes):
        if len(shape) != 4 or shape[1] != 1:
            raise ModelError(f"the network gives {list(shape)}, heights are [B, 1, H, W]")
'''
NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, echoes, probe):
        beside = probe[:, :, None, None].expand(-1, -1, echoes.shape[2], echoes.shape[3])
        return self.last(self.first(torch.cat([echoes, beside], dim=1)))


def build(width=24):
    return Net(width)
"""
RECIPE = """
name = "toy"
stages = ["train", "distill", "prune", "quantize", "export", "bench", "report"]

[data]
source = "py:soundings.py:load"

[task]
name = "heights.py:Heights"

[teacher]
model = "net.py"

[train]
epochs = 15
batch_size = 16
lr = 0.02
compile = false

[student]
model = "net.py"
options = {{ width = 12 }}

[distill]
epochs = 10
batch_size = 16
lr = 0.02
compile = false
control = true
losses = [{{ name = "mse_logits" }}]

[prune]
macs = 0.3
epochs = 3
batch_size = 16
compile = false
max_drop = 0.5
losses = [{{ name = "mse_logits" }}]

[quantize]
method = "static"
mixed = false
max_drop = 0.5

[bench]
profiles = ["edge"]
runtimes = ["ort_cpu"]
min_seconds = {min_seconds}
min_samples = {min_samples}
blocks = {blocks}
starts = {starts}
attempts = {attempts}
operators = false
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    for name, text in {"soundings.py": FORMAT, "echoes.py": KIND, "heights.py": TASK, "net.py": NET}.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "recipe.toml").write_text(RECIPE.format(**QUICK_BENCH), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(project):
    """The whole chain, once."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))
    monkeypatch.chdir(project)
    made = api.run("recipe.toml")
    monkeypatch.undo()
    return made


@pytest.fixture(autouse=True)
def in_the_project(project, monkeypatch):
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))
    monkeypatch.chdir(project)


def error_of(artifact):
    return artifact.manifest.metrics["test"]["metrics"]["mae"]


def test_every_stage_leaves_a_network_that_knows_the_heights(run):
    assert run.artifacts.keys() >= {"teacher", "control", "distilled", "pruned"}
    assert error_of(run.artifacts["teacher"]) < 0.25
    assert error_of(run.artifacts["pruned"]) < 0.6


def test_the_exported_network_takes_both_inputs_by_name(run, project):
    runtime = OrtCpu(threads=1)
    runtime.load(project / "runs" / "toy" / "export" / "model.onnx")
    given = {"echoes": np.zeros((3, 1, 6, 6), np.float32), "probe": np.ones((3, 2), np.float32)}

    assert runtime(given)["logits"].shape == (3, 1, 6, 6)


def test_measurements_tell_the_metric_with_its_interval_and_a_paired_test(run):
    kept = json.loads((run.measurements.path / "measurements.json").read_text())
    student = next(each for each in kept["candidates"] if each["role"] == "student")
    (told, *_) = student["accuracy"]

    low, high = told["interval"]
    assert low < told["metrics"]["mae"] < high
    assert (told["primary"], told["metric"]) == ("mae", {"name": "mae", "unit": "m", "larger_is_better": False})


def test_the_report_speaks_of_meters(run, project):
    page = (project / "runs" / "toy" / "report" / "report.html").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(style|script).*?</\1>", "", page))

    assert re.search(
        r"The student reaches [\d.]+ m mae where the teacher reaches [\d.]+ m \([\d.]+ m (worse|better)", text
    )
    assert not re.search(r"mae[^.|]* [\d.]+ %|points", text)
    assert "1 output ·" in text
    assert not re.search(r"each class|a class|\d class|Which classes|pixels|accuracy|Recall", text)


def test_the_card_shows_how_to_run_it_with_both_inputs(run, project):
    """The code of the card runs as it stands, beside the model."""
    card = (project / "runs" / "toy" / "report" / "report.card.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)

    done = subprocess.run(
        [sys.executable, "-c", code + "\nprint(outputs.shape)"],
        cwd=project / "runs" / "toy" / "quantize",
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "(1, 1, 6, 6)"


def test_a_device_judges_and_times_it_by_the_task_it_was_given(run, project):
    packed = api.pack(run.artifacts["pruned"].path, teacher=False, samples=20, options=QUICK_BENCH)
    file = project / "device.json"

    done = run_there(packed.folder.path.resolve(), "--seconds", "0.05", "--profiles", "edge", "--out", str(file))

    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert found["accuracy"]["student"]["metrics"]["mae"] == pytest.approx(error_of(run.artifacts["pruned"]), rel=0.5)

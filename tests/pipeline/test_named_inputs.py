"""Networks of several inputs, dense outputs and lengths that vary: through every stage, down to what a device writes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from compressor import api
from compressor.errors import InputError, ParityError
from compressor.runtimes.ort_cpu import OrtCpu
from tests.pipeline.test_pack import run_there
from tests.small import QUICK_BENCH

PLACES = """
import numpy as np
from compressor.data.samples import ArraySamples, Splits, TargetTable

def load():
    '''A bright field in a picture; a number beside it says whether bright or dark is what counts.'''
    def split(count, seed):
        generator = np.random.default_rng(seed)
        bright = generator.random((count, 1, 8, 8)) < 0.5
        image = (bright + 0.2 * generator.normal(size=(count, 3, 8, 8))).clip(0, 1).astype(np.float32)
        numbers = generator.normal(size=(count, 4)).astype(np.float32)
        mask = (bright[:, 0] ^ (numbers[:, :1, None] > 0)).astype(np.uint8)
        mask[:, 0, 0] = 255
        return ArraySamples({"image": image, "numbers": numbers}, TargetTable({"mask": mask}))
    return Splits(("no", "yes"), split(128, 0), None, split(48, 1), "0" * 64)
"""
PIXELS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, width):
        super().__init__()
        self.picture = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.numbers = nn.Sequential(nn.Linear(4, width), nn.ReLU())
        self.mixed = nn.Sequential(nn.Conv2d(2 * width, width, 1), nn.ReLU(), nn.Conv2d(width, num_classes, 1))

    def forward(self, image, numbers):
        seen = self.picture(image)
        beside = self.numbers(numbers)[:, :, None, None].expand(-1, -1, seen.shape[2], seen.shape[3])
        return self.mixed(torch.cat([seen, beside], dim=1))

def build(num_classes, width=16):
    return Net(num_classes, width)
"""
TEXTS = """
import hashlib
import numpy as np
from compressor.data.samples import InTable, Splits, TargetTable
from compressor.tensors import Schema, TensorSpec

class Texts(InTable):
    '''Texts of 1 to 30 tokens; which class, is told by the tokens below and above 10.'''

    inputs = Schema.of(TensorSpec("input_ids", "int64", ("tokens",)), TensorSpec("attention_mask", "int64", ("tokens",)))

    def __init__(self, count, seed):
        generator = np.random.default_rng(seed)
        labels = np.arange(count) % 2
        self.lengths = generator.integers(1, 30, count)
        self.lengths[:2] = 1, 30
        self.rows = [generator.integers(1, 10, n) + 10 * y for n, y in zip(self.lengths, labels)]
        self.table = TargetTable.of_labels(labels)

    def fetch(self, positions):
        longest = int(self.lengths[positions].max())
        ids = np.stack([np.pad(self.rows[p], (0, longest - len(self.rows[p]))) for p in positions]).astype(np.int64)
        return {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64)}

    def content_hashes(self):
        return np.array([int(hashlib.sha256(row.tobytes()).hexdigest()[:15], 16) for row in self.rows], np.uint64)

def load():
    return Splits(("low", "high"), Texts(128, 0), None, Texts(48, 1), "1" * 64)
"""
WORDS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, width, heed):
        super().__init__()
        self.words, self.heed = nn.Embedding(24, width), heed
        self.first, self.second = nn.Linear(width, 2 * width), nn.Linear(2 * width, num_classes)

    def forward(self, input_ids, attention_mask):
        there = attention_mask[..., None].to(self.words.weight.dtype)
        known = self.first(self.words(input_ids)).relu()
        return self.second((known * there).sum(1) / there.sum(1) if self.heed else known.sum(1) / there.sum(1))

def build(num_classes, width=16, heed=True):
    return Net(num_classes, width, heed)
"""
KINDS = {
    "pixels": (PLACES, PIXELS, ("task.name=segmentation",), "miou"),
    "tokens": (TEXTS, WORDS, (), "accuracy"),
}


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory):
    """A trained network of two inputs, in a project of its own."""
    data, net, assignments, metric = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "data.py").write_text(data, encoding="utf-8")
    (folder / "net.py").write_text(net, encoding="utf-8")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("COMPRESS_HOME", str(folder / "home"))
    monkeypatch.chdir(folder)
    budget = {"epochs": 12, "batch_size": 16, "lr": 0.05, "compile": False}
    made = api.train(
        "net.py",
        data="py:data.py:load",
        name="net",
        options=budget,
        assignments=("data.views.crop=false", *assignments),
    )
    assert made.manifest.metrics["test"]["metrics"][metric] > 0.8
    monkeypatch.undo()
    return folder, made, request.param


@pytest.fixture(autouse=True)
def in_the_project(trained, monkeypatch):
    """Every test begins where the network was trained, and trusts what was trusted there."""
    monkeypatch.setenv("COMPRESS_HOME", str(trained[0] / "home"))
    monkeypatch.chdir(trained[0])


def outputs(model, **inputs):
    runtime = OrtCpu(threads=1)
    runtime.load(model)
    try:
        return runtime(inputs)["logits"]
    finally:
        runtime.close()


def test_every_output_and_size_passes_the_gate(trained):
    _, made, kind = trained

    exported = api.export(made.path)

    assert exported.manifest.details["parity"]["max_relative"] < 1e-3
    assert exported.manifest.details["input_contract"]["layout"] == "by name"
    if kind == "pixels":
        assert outputs(
            exported.path, image=np.zeros((3, 3, 8, 8), np.float32), numbers=np.zeros((3, 4), np.float32)
        ).shape == (3, 2, 8, 8)
    else:
        for length in (1, 7, 200):
            ids = np.ones((2, length), np.int64)
            assert outputs(exported.path, input_ids=ids, attention_mask=ids).shape == (2, 2)


def test_a_file_that_differs_at_one_length_alone_does_not_pass(trained, monkeypatch):
    _, made, kind = trained
    if kind != "tokens":
        pytest.skip("no axis varies")

    class WrongAtOneToken(OrtCpu):
        def __call__(self, inputs):
            wrong = next(iter(inputs.values())).shape[1] == 1
            return {name: array + 1 if wrong else array for name, array in super().__call__(inputs).items()}

    monkeypatch.setattr("compressor.stages.export.OrtCpu", WrongAtOneToken)

    with pytest.raises(ParityError, match=r"of their spread for \[1, 1\], \[1, 1\]"):
        api.export(made.path, options={"tolerance": 2e-3, "samples": 100})


def test_a_device_without_torch_judges_and_times_it(trained):
    folder, made, kind = trained
    stated = {**QUICK_BENCH, **({"shapes": {"tokens": [4, 16]}} if kind == "tokens" else {})}
    packed = api.pack(made.path, teacher=False, samples=20, options=stated)

    file = folder / f"{kind}.json"
    done = run_there(packed.folder.path.resolve(), "--seconds", "0.05", "--profiles", "edge", "--out", str(file))

    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    wanted = ["edge at 4 tokens", "edge at 16 tokens"] if kind == "tokens" else ["edge"]
    assert [each["profile"] for each in found["timings"]] == wanted
    (near,) = found["parity"].values()
    assert near["agreement"] == 1.0
    assert near["max_relative"] < 1e-4


def test_each_size_is_timed_and_told(trained):
    _, made, kind = trained
    stated = {**QUICK_BENCH, **({"shapes": {"tokens": [4, 16]}} if kind == "tokens" else {})}

    measured = api.bench(made.path, options=stated)

    kept = json.loads((measured.path / "measurements.json").read_text())
    timed = [(each["profile"], each.get("sizes")) for each in kept["timings"]]
    at = [("edge at 4 tokens", {"tokens": 4}), ("edge at 16 tokens", {"tokens": 16})]
    assert timed == (at if kind == "tokens" else [("edge", None)])
    page = (api.report(measured.path.parent).path / "report.html").read_text(encoding="utf-8")
    assert ("edge at 16 tokens" in page) is (kind == "tokens")


@pytest.mark.slow  # four files are timed against float
@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_it_is_quantized_and_keeps_what_it_knows(trained, method):
    _, made, kind = trained

    quantized = api.quantize(made.path, options={"method": method, "mixed": False, "max_drop": 5.0})

    metric = KINDS[kind][3]
    assert quantized.manifest.metrics["test"]["metrics"][metric] > 0.75


def test_it_is_pruned(trained):
    _, made, _ = trained

    pruned = api.prune(made.path, options={"macs": 0.3, "epochs": 2, "batch_size": 16, "compile": False})

    assert pruned.manifest.details["network"]["params"] < made.manifest.details["network"]["params"]


def test_sizes_of_an_axis_that_does_not_vary_are_refused(trained):
    _, made, _ = trained

    with pytest.raises(InputError, match="no axis 'words' of these samples varies"):
        api.bench(made.path, options={**QUICK_BENCH, "shapes": {"words": [4]}})

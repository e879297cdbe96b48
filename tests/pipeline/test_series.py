"""Series of several sensors through the chain: trained, exported with a dynamic batch, and quantized."""

from __future__ import annotations

import numpy as np
import pytest

from compressor import api
from compressor.data.open import open_dataset
from compressor.measure.accuracy import predict
from compressor.models import checkpoint
from compressor.recipe import DataSettings
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.runtimes.torch import TorchEager

LENGTH = 32
SENSORS = """
from torch import nn

def build(num_classes: int, in_channels: int = 1, width: int = 8) -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(in_channels, width, 5, padding=2), nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(width, width, 5, padding=2), nn.BatchNorm1d(width), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, num_classes),
    )
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two sensors in units of their own; a slow or a quick wave in the second, under noise."""
    folder = tmp_path_factory.mktemp("series")
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 192), ("test", 64)):
        labels = np.arange(count) % 2
        phase = generator.uniform(0, 2 * np.pi, (count, 1))
        wave = np.sin(phase + np.arange(LENGTH) * np.where(labels, 1.2, 0.3)[:, None])
        noise = generator.normal(size=(2, count, LENGTH))
        sensors = np.stack([1000 + 50 * noise[0], -0.02 + 0.01 * (wave + 0.3 * noise[1])], axis=1)
        arrays |= {f"x_{split}": sensors.astype(np.float32), f"y_{split}": labels}
    np.savez(folder / "data.npz", **arrays, classes=np.array(["slow", "quick"]))
    (folder / "net.py").write_text(SENSORS, encoding="utf-8")
    return folder


def test_series_are_trained_exported_and_quantized(project, monkeypatch):
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))
    monkeypatch.chdir(project)
    data = {"source": f"npz:{project / 'data.npz'}", "options": {"layout": "NCL"}}
    budget = {"epochs": 6, "batch_size": 32, "lr": 0.02, "compile": False}

    trained = api.train(
        "net.py", data=data["source"], name="sensors", options=budget, assignments=("data.options.layout=NCL",)
    )

    test = open_dataset(DataSettings(**data)).test
    loaded = checkpoint.load(trained)
    assert loaded.network.normalisation.mean == pytest.approx((1000.0, -0.02), abs=5.0)
    assert loaded.network.normalisation.std[1] == pytest.approx(0.008, abs=0.003)
    assert trained.manifest.metrics["test"]["metrics"]["accuracy"] > 0.9
    assert trained.manifest.data["inputs"] == [{"name": "series", "dtype": "float32", "shape": [2, LENGTH]}]
    expected_NK = predict(TorchEager.from_network(loaded.network), test)["logits"]

    exported = api.export(trained.path)
    assert exported.manifest.details["input_contract"]["layout"] == "NCL"
    runtime = OrtCpu()
    runtime.load(exported.path)
    found_NK = predict(runtime, test)["logits"]
    difference = np.abs(found_NK - expected_NK)
    assert difference.max() < 1e-4, f"max {difference.max():.2e}, mean {difference.mean():.2e}"
    alone = runtime(test.fetch(np.arange(1)))["logits"]
    assert np.abs(alone - found_NK[:1]).max() < 1e-4

    quantized = api.quantize(trained.path, options={"method": "static", "mixed": False})
    runtime = OrtCpu()
    runtime.load(quantized.path)
    agreement = (predict(runtime, test)["logits"].argmax(axis=1) == expected_NK.argmax(axis=1)).mean()
    assert agreement > 0.9
    assert quantized.manifest.details["result"] == "static"


NOISE = '''
import torch

from compressor.views._contract import View


class Noise(View):
    """Series of several sensors with noise in each."""

    targets = {}

    def __init__(self, *, strength: float = 0.1) -> None:
        self.strength = strength

    def reads(self, spec):
        return len(spec.shape) == 2 and spec.dtype == "float32"

    def __call__(self, inputs, draw):
        loudness = self.strength * (draw.uniform("loudness") - 0.5)
        return inputs * (1 + loudness[:, None, None])
'''


def test_a_view_of_ones_own_shows_series_in_training_and_stands_in_the_manifest(project, monkeypatch):
    monkeypatch.setenv("COMPRESS_HOME", str(project / "home"))
    monkeypatch.chdir(project)
    (project / "mine.py").write_text(NOISE, encoding="utf-8")
    shared = {
        "data": {"source": "npz:data.npz", "options": {"layout": "NCL"}},
        "teacher": {"model": "net.py"},
        "train": {"epochs": 2, "batch_size": 32, "compile": False},
        "student": {"model": "net.py", "options": {"width": 4}},
        "distill": {"epochs": 2, "batch_size": 32, "compile": False},
        "stages": ["train", "distill"],
    }
    shown = {"own": [{"name": "mine.py:Noise", "strength": 0.2}], "count": 2}

    plain = api.run({**shared, "name": "plain"}).artifacts["student"]
    noisy = api.run({**shared, "name": "noisy", "data": {**shared["data"], "views": shown}}).artifacts["student"]

    assert noisy.manifest.files["weights.safetensors"] != plain.manifest.files["weights.safetensors"]
    assert "mine.py:Noise" in noisy.manifest.code
    assert noisy.manifest.settings["data"]["views"]["own"] == [{"name": "mine.py:Noise", "strength": 0.2}]
    (project / "mine.py").write_text(NOISE.replace("- 0.5", "- 0.4"), encoding="utf-8")
    again = api.run({**shared, "name": "noisy", "data": {**shared["data"], "views": shown}}).artifacts["student"]
    assert again.manifest.files["weights.safetensors"] != noisy.manifest.files["weights.safetensors"]

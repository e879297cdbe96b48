"""Two small float models as ONNX files, and samples to calibrate them with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import version_converter
from onnx.reference import ReferenceEvaluator
from torch import nn

from compressor.models import onnx_file
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.recipe import ExportSettings


class Convolutions(nn.Module):
    """Two branches, a depthwise convolution, BatchNorm and an output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU6())
        self.deep = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.mix = nn.Conv2d(16, 16, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, images):
        trunk = self.stem(images)
        return self.head((trunk + self.mix(torch.relu(self.deep(trunk)))).mean((2, 3)))


class Products(nn.Module):
    """Matrix products over tokens, as in a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 64)
        self.second = nn.Linear(64, 64)
        self.last = nn.Linear(64, 5)

    def forward(self, images):
        tokens = images.flatten(2).transpose(1, 2)
        return self.last(torch.relu(self.second(torch.relu(self.first(tokens))))).mean(1)


def write(module: nn.Module, file: Path) -> Path:
    torch.manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, 0, 0.2)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    network = Network(module, Normalisation("half", (0.5,) * 3, (0.5,) * 3)).eval()
    onnx_file.write(network, file, settings=ExportSettings(), samples={"image": np.zeros((2, 3, 8, 8), np.uint8)})
    model = onnx.load(file)
    entry = model.metadata_props.add()
    entry.key, entry.value = "compress.classes", json.dumps(list("abcde"))
    onnx.save(model, file)
    return file


def answers(file: Path, pixels: np.ndarray) -> np.ndarray:
    """What ONNX Runtime predicts on the CPU that is here: of an int8 file, only where it was made for that CPU."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: pixels})[0]


def answers_in_wide_sums(file: Path, pixels: np.ndarray) -> np.ndarray:
    """What a file predicts by NumPy alone: slow, and the same on every CPU, since no sum of products saturates."""
    newer = version_converter.convert_version(onnx.load(file), 21)  # the reference holds no older DequantizeLinear
    model = ReferenceEvaluator(newer)
    return model.run(None, {model.input_names[0]: pixels})[0]


@pytest.fixture(scope="session")
def convolutions(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return write(Convolutions(), tmp_path_factory.mktemp("onnx") / "convolutions.onnx")


@pytest.fixture(scope="session")
def products(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return write(Products(), tmp_path_factory.mktemp("onnx") / "products.onnx")


class Pictures:
    """Random pictures as the models take them."""

    def __init__(self, number: int = 64, *, seed: int = 0) -> None:
        self.pixels = np.random.default_rng(seed).random((number, 3, 8, 8), dtype=np.float32)

    def __len__(self) -> int:
        return len(self.pixels)

    def batches(self):
        for first in range(0, len(self.pixels), 16):
            yield {"input": self.pixels[first : first + 16]}


@pytest.fixture
def pictures() -> Pictures:
    return Pictures()

"""The mobile format: what is timed loads a file that was converted before."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from compressor.models import onnx_file
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.recipe import ExportSettings
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.runtimes.ort_mobile import OrtMobile
from tests.named import predicted

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)


def test_the_stored_file_is_loaded_as_it_is_and_answers_alike(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    file = tmp_path / "model.onnx"
    whole = Network(network, Normalisation("half", (0.5,) * 3, (0.5,) * 3)).eval()
    onnx_file.write(whole, file, settings=ExportSettings(), samples={"image": PIXELS})
    plain, mobile = OrtCpu(threads=1), OrtMobile(threads=1)
    (tmp_path / "stored").mkdir()

    stored = mobile.stored(file, tmp_path / "stored")
    plain.load(file)
    mobile.load(stored)

    assert stored.suffix == ".ort"
    assert mobile._folder is None, "nothing was converted while it was loaded"
    assert np.abs(predicted(mobile, PIXELS) - predicted(plain, PIXELS)).max() < 1e-5

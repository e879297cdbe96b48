"""Networks that tell something of each pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor.models import onnx_file
from compressor.models.network import Network, logits_of
from compressor.models.normalisation import Normalisation
from compressor.recipe import ExportSettings
from compressor.runtimes.ort_cpu import OrtCpu
from tests.named import predicted

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 3, 12, 20), dtype=np.uint8)


class AtAStride(nn.Module):
    """Logits of three classes at a quarter of the size, as torchvision's networks name them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 4, stride=4)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": self.stem(images), "aux": images}


def test_maps_at_a_stride_are_brought_to_the_size_of_the_image_and_so_is_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Network(AtAStride(), Normalisation("half", (0.5,) * 3, (0.5,) * 3)).eval()
    file = tmp_path / "model.onnx"
    onnx_file.write(network, file, settings=ExportSettings(), samples={"image": PIXELS})
    runtime = OrtCpu(threads=1)
    runtime.load(file)

    with torch.no_grad():
        images = torch.from_numpy(PIXELS) / 255
        found = network(images)
        expected = F.interpolate(network.module.stem((images - 0.5) / 0.5), size=(12, 20), mode="bilinear")

    torch.testing.assert_close(found, expected)
    np.testing.assert_allclose(predicted(runtime, PIXELS), found.numpy(), atol=1e-5)
    np.testing.assert_allclose(predicted(runtime, PIXELS[:1]), found[:1].numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["logits", "out"])
def test_the_logits_of_a_mapping_are_found_by_either_name(name: str) -> None:
    logits = torch.ones(2, 3)

    assert logits_of({"aux": torch.zeros(1), name: logits}) is logits

"""A network becomes an ONNX file, with its normalisation or without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from compressor.models import onnx_file
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.recipe import ExportSettings

NUMBERS = Normalisation("stated", (0.5,) * 3, (0.25,) * 3, outputs=((100.0, -7.0), (20.0, 0.1)))


@pytest.mark.parametrize("normalise", [True, False])
def test_a_network_exported_without_its_normalisation_keeps_the_scale_of_its_outputs(
    tmp_path: Path, normalise: bool
) -> None:
    network = Network(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), NUMBERS).eval()
    pixels_BCHW = torch.rand(2, 3, 2, 2)
    settings = ExportSettings(normalise=normalise)

    onnx_file.write(network, tmp_path / "net.onnx", settings=settings, samples={"image": pixels_BCHW.numpy()})

    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    given = pixels_BCHW if normalise else (pixels_BCHW - 0.5) / 0.25
    (answered,) = session.run(None, {"input": given.numpy()})
    np.testing.assert_allclose(answered, network(pixels_BCHW).detach().numpy(), rtol=1e-5)


def test_a_file_holds_nothing_of_the_machine_that_wrote_it(tmp_path) -> None:
    network = Network(
        nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), Normalisation("half", (0.5,) * 3, (0.5,) * 3)
    ).eval()
    file = tmp_path / "m.onnx"

    onnx_file.write(network, file, settings=ExportSettings(), samples={"image": np.zeros((2, 3, 4, 4), np.uint8)})

    assert str(Path(__file__).parents[3]).encode() not in file.read_bytes()
    assert not any(node.metadata_props or node.doc_string for node in onnx.load(file).graph.node)

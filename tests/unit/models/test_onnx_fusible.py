"""What is rewritten so that ONNX Runtime fuses it: the fused operators appear, the answers stay."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from compressor.models import onnx_file, onnx_fusible
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.recipe import ExportSettings

TOKENS = np.zeros((2, 6, 16), np.float32)


def _alone(module, file, *, samples=TOKENS):
    """As torch's exporter writes it."""
    torch.onnx.export(
        module.eval(),
        (torch.from_numpy(samples),),
        file,
        opset_version=18,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        external_data=False,
        verbose=False,
    )
    return file


def _run_by_onnx_runtime(file):
    """Kinds of nodes that ONNX Runtime runs, and what it answers to a few samples."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(file.with_suffix(".optimised.onnx"))
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    given = session.get_inputs()[0]
    samples = np.random.default_rng(0).normal(size=[3, *given.shape[1:]]).astype(np.float32)
    return kinds, session.run(None, {given.name: samples})[0]


@pytest.mark.parametrize(("approximate", "fused"), [("none", "BiasGelu"), ("tanh", "FastGelu")])
def test_gelu_is_fused(tmp_path, approximate, fused):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(16, 32), nn.GELU(approximate), nn.Linear(32, 4))
    file = _alone(module, tmp_path / "gelu.onnx")
    kinds, expected = _run_by_onnx_runtime(file)
    assert {"Erf", "Tanh"} & set(kinds)

    assert onnx_fusible.rewrite(file) == {"GELU": 1}

    kinds, found = _run_by_onnx_runtime(file)
    assert fused in kinds
    assert not {"Erf", "Tanh"} & set(kinds)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_quarter_of_it_is_no_gelu(tmp_path):
    class Other(nn.Module):
        def forward(self, x):
            return x * (0.25 * (1 + torch.erf(x)))

    file = _alone(Other(), tmp_path / "other.onnx")
    written = file.read_bytes()

    assert onnx_fusible.rewrite(file) == {}
    assert file.read_bytes() == written


def test_keys_of_attention_are_transposed_without_asking_for_their_size(tmp_path):
    torch.manual_seed(0)
    module = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True)
    file = _alone(module, tmp_path / "attention.onnx")
    before, expected = _run_by_onnx_runtime(file)

    assert onnx_fusible.rewrite(file) == {"GELU": 1, "keys of attention": 1}

    after, found = _run_by_onnx_runtime(file)
    onnx.checker.check_model(onnx.load(file))
    assert (before.count("Slice"), after.count("Slice")) == (3, 0)
    assert after.count("Reshape") == before.count("Reshape") - 2
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_an_export_says_what_was_rewritten(tmp_path):
    layers = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.GELU(), nn.Linear(8, 3))
    network = Network(layers, Normalisation("none", (), ())).eval()

    _, decisions = onnx_file.write(
        network, tmp_path / "m.onnx", settings=ExportSettings(), samples={"image": np.zeros((2, 3, 4, 4), np.uint8)}
    )

    assert [each.choice for each in decisions if each.what == "written for ONNX Runtime"] == ["GELU (1)"]

"""Dynamic int8: what is told to stay in float does."""

from __future__ import annotations

import onnx
import pytest
from torch import nn

from compressor.quantizers._targets import cpu
from compressor.quantizers.dynamic import Dynamic
from tests.unit.quantizers.conftest import write


@pytest.fixture
def prepared(tmp_path, pictures):
    source = write(nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 5)), tmp_path / "gemms.onnx")
    return Dynamic().prepare(source, calibration=pictures, cpu=cpu("this"), scratch=tmp_path)


def kinds(file) -> list[str]:
    return [node.op_type for node in onnx.load(file).graph.node if node.op_type in ("MatMul", "Gemm", "MatMulInteger")]


def test_every_fully_connected_layer_is_quantized(prepared, tmp_path):
    assert {node.op_type for node in onnx.load(prepared.float_model).graph.node} >= {"Gemm"}

    prepared.write(tmp_path / "out.onnx")

    assert kinds(tmp_path / "out.onnx") == ["MatMulInteger", "MatMulInteger"]


def test_a_fully_connected_layer_that_is_told_to_stay_float_stays_float(prepared, tmp_path):
    prepared.write(tmp_path / "out.onnx", keep_float=prepared.nodes[:1])

    assert kinds(tmp_path / "out.onnx") == ["MatMul", "MatMulInteger"]

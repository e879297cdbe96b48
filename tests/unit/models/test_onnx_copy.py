"""A copy of an ONNX file holds its weights, wherever they lay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compressor.models import onnx_copy


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A model whose weights lie in `weights.bin`."""
    value = helper.make_tensor_value_info
    weights = numpy_helper.from_array(np.ones((4, 3), np.float32), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "weights"], ["logits"])],
        "product",
        [value("input", 1, ["batch", 4])],
        [value("logits", 1, ["batch", 3])],
        [weights],
    )
    file = tmp_path / "theirs" / "model.onnx"
    file.parent.mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return file


def copied(file: Path, folder: Path) -> Path:
    folder.mkdir()
    onnx_copy.write_copy(file, folder / "model.onnx", normalisation=None, gives_probabilities=False, smallest=1e-38)
    return folder / "model.onnx"


def test_weights_from_a_file_beside_it_are_in_the_copy(outside, tmp_path):
    copy = copied(outside, tmp_path / "mine")

    assert [file.name for file in copy.parent.iterdir()] == ["model.onnx"]
    (weights,) = onnx.load(copy).graph.initializer
    assert np.array_equal(numpy_helper.to_array(weights), np.ones((4, 3)))


def test_weights_that_one_file_cannot_hold_stay_beside_the_copy(outside, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_copy, "_LARGEST", 10)

    copy = copied(outside, tmp_path / "mine")

    assert {file.name for file in copy.parent.iterdir()} == {"model.onnx", "weights.bin"}

"""A model is made ready to be quantized from whatever form it comes in: old operator sets, weights in files beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compressor.errors import ModelError
from compressor.models import onnx_copy
from compressor.quantizers import _graph
from compressor.quantizers._targets import cpu
from compressor.quantizers.static import Static
from tests.unit.quantizers.conftest import answers


def write(file: Path, *, opset: int, ir: int, operator: str = "Relu", weights_are_inputs: bool = False) -> Path:
    """A convolution and a fully connected layer, as exporters of their time wrote them."""
    generator = np.random.default_rng(0)
    shapes = {"kernel": (8, 3, 3, 3), "shift": (8,), "matrix": (8, 5), "bias": (5,)}
    weights = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Conv", ["input", "kernel", "shift"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node(operator, ["maps"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix", "bias"], ["logits"]),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("input", 1, ["batch", 3, 8, 8])]
    if weights_are_inputs:
        inputs += [value(name, 1, shape) for name, shape in shapes.items()]
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "old", inputs, [value("logits", 1, ["batch", 5])], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir), file)
    return file


def quantized(source, pictures, folder):
    made = folder / "int8.onnx"
    Static().prepare(source, calibration=pictures, cpu=cpu("this"), scratch=folder).write(made)
    return made


@pytest.mark.parametrize(("opset", "ir"), [(9, 3), (9, 4), (11, 6), (12, 7), (13, 7)])
def test_a_model_of_an_old_operator_set_is_quantized_in_one_that_holds_it(tmp_path, pictures, opset, ir):
    source = write(tmp_path / "old.onnx", opset=opset, ir=ir, weights_are_inputs=ir == 3)

    made = quantized(source, pictures, tmp_path)

    assert [(each.domain, each.version) for each in onnx.load(made).opset_import] == [("", 13)]
    expected = answers(source, pictures.pixels)
    assert np.abs(answers(made, pictures.pixels) - expected).mean() < 0.05 * expected.std()


def test_an_operator_set_is_left_as_it_is_where_it_is_new_enough(tmp_path, pictures):
    made = quantized(write(tmp_path / "new.onnx", opset=17, ir=8), pictures, tmp_path)

    assert [(each.domain, each.version) for each in onnx.load(made).opset_import] == [("", 17)]


def test_a_model_that_cannot_be_converted_is_refused_with_its_operator_set(tmp_path):
    source = write(tmp_path / "strange.onnx", opset=11, ir=6, operator="Unheard")

    with pytest.raises(ModelError, match=r"opset 11 cannot be quantized, nor converted to 13.*export it again"):
        _graph.prepared(source, tmp_path)


def test_weights_in_a_file_beside_the_model_are_quantized_like_those_in_it(pictures, tmp_path):
    source, outside = write(tmp_path / "one.onnx", opset=17, ir=8), tmp_path / "apart" / "model.onnx"
    outside.parent.mkdir()
    onnx.save(onnx.load(source), outside, save_as_external_data=True, location="model.data", size_threshold=0)

    made = quantized(outside, pictures, tmp_path)
    (outside.parent / "model.data").unlink()

    in_one = quantized(source, pictures, outside.parent)
    assert np.array_equal(answers(made, pictures.pixels), answers(in_one, pictures.pixels))


def test_a_model_of_more_than_one_file_can_hold_is_refused(convolutions, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_copy, "_LARGEST", 1000)

    with pytest.raises(ModelError, match="above 2 GB cannot be changed"):
        _graph.prepared(convolutions, tmp_path)

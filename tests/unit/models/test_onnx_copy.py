"""A copy of an ONNX file holds its weights, wherever they lay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compressor.errors import ModelError
from compressor.models import inspection, onnx_copy
from compressor.pipeline import keys
from compressor.runtimes._onnx_runtime import external_files
from compressor.runtimes.ort_cpu import OrtCpu


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


@pytest.fixture(params=["initializer", "constant", "branch"])
def held(request: pytest.FixtureRequest, outside: Path) -> Path:
    """The model, with its weights held in another place of its graph."""
    model = onnx.load(outside, load_external_data=False)
    weights = onnx.TensorProto()
    weights.CopyFrom(model.graph.initializer[0])
    if request.param != "initializer":
        del model.graph.initializer[:]
        node = helper.make_node("Constant", [], ["weights"], value=weights)
        if request.param == "branch":
            inner = helper.make_tensor_value_info("weights", onnx.TensorProto.FLOAT, [4, 3])
            branch = helper.make_graph([node], "branch", [], [inner])
            model.graph.initializer.append(helper.make_tensor("yes", onnx.TensorProto.BOOL, [], [True]))
            node = helper.make_node("If", ["yes"], ["weights"], then_branch=branch, else_branch=branch)
        model.graph.node.insert(0, node)
    outside.write_bytes(model.SerializeToString())
    return outside


def test_weights_beside_a_model_are_found_wherever_its_graph_holds_them(held: Path) -> None:
    assert [
        file.name for file in inspection.external_files(onnx.load(held, load_external_data=False), held.parent)
    ] == ["weights.bin"]
    assert external_files(held) == {held.parent / "weights.bin"}

    (held.parent / "weights.bin").write_bytes(b"short")
    with pytest.raises(ModelError, match="its weights, which lie beside it, cannot be read"):
        onnx_copy.whole(held)

    (held.parent / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"'weights\.bin' beside it, which is not there"):
        OrtCpu().file_size(held)


def said_to_lie_in(file: Path, location: str) -> Path:
    """The model, with another word for where its weights lie."""
    model = onnx.load(file, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    file.write_bytes(model.SerializeToString())
    return file


@pytest.mark.parametrize(
    "location", ["../secret.bin", "{there}/secret.bin", "link.bin", "folder/secret.bin", "a/../../secret.bin"]
)
def test_weights_outside_of_the_model_s_folder_are_neither_read_nor_copied(outside, tmp_path, monkeypatch, location):
    (tmp_path / "secret.bin").write_bytes((outside.parent / "weights.bin").read_bytes())
    (outside.parent / "link.bin").symlink_to(tmp_path / "secret.bin")
    (outside.parent / "folder").symlink_to(tmp_path)
    file = said_to_lie_in(outside, location.format(there=tmp_path))
    monkeypatch.setattr(onnx_copy, "_LARGEST", 10)  # so that files are copied

    for read in (
        lambda: copied(file, tmp_path / "mine"),
        lambda: onnx_copy.whole(file),
        lambda: onnx_copy.require_own_weights(file),
        lambda: inspection.inspect_onnx(file),
        lambda: keys.identity(str(file)),
        lambda: keys.content_key(file),
    ):
        with pytest.raises(ModelError, match="outside of its folder"):
            read()

"""A model of any framework as a teacher: how it is fed, what is found out about it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from compressor.data.samples import ArraySamples
from compressor.errors import InputError, ModelError
from compressor.models.network import SMALLEST
from compressor.models.normalisation import named
from compressor.models.onnx_copy import write_copy
from compressor.tasks.classification import Classification
from compressor.teachers.onnx import OnnxFile
from compressor.tensors import Batch
from tests.named import class_samples, inputs_of, labels_of, named_batch

CLASSES = ("dark", "bright")
NONE = named("none", channels=1, statistics=((0.0,), (1.0,)))
HALF = named("half", channels=1, statistics=((0.0,), (1.0,)))


def samples(*, labelled: bool = True) -> ArraySamples:
    """Pictures of 2×2 pixels, dark or bright."""
    labels = np.arange(80) % 2
    pixels = np.random.default_rng(0).integers(0, 60, (80, 1, 2, 2)) + 150 * labels[:, None, None, None]
    return class_samples(pixels.astype(np.uint8), labels if labelled else np.full(80, -1))


def write(file: Path, *, at: float = 0.5, softmax: bool = False, uint8: bool = False, outputs: int = 2) -> Path:
    """A model that tells bright from dark by the mean of its pixels; `at`: the mean between them."""
    weights = np.zeros((4, outputs), np.float32)
    weights[:, 0], weights[:, 1] = -2.5, 2.5
    bias = np.zeros(outputs, np.float32)
    bias[:2] = [10 * at, -10 * at]
    kind = TensorProto.UINT8 if uint8 else TensorProto.FLOAT
    shape = ["batch", 2, 2, 1] if uint8 else ["batch", 1, 2, 2]
    nodes = [helper.make_node("Flatten", ["scaled"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["product"])]
    nodes.append(helper.make_node("Add", ["product", "b"], ["logits"]))
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["answer"], axis=1))
    if uint8:
        front = [helper.make_node("Cast", ["input"], ["cast"], to=TensorProto.FLOAT)]
        front.append(helper.make_node("Div", ["cast", "most"], ["scaled"]))
    else:
        front = [helper.make_node("Identity", ["input"], ["scaled"])]
    graph = helper.make_graph(
        [*front, *nodes],
        "bright",
        [helper.make_tensor_value_info("input", kind, shape)],
        [helper.make_tensor_value_info("answer" if softmax else "logits", TensorProto.FLOAT, ["batch", outputs])],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(bias, "b"),
            numpy_helper.from_array(np.float32(255), "most"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(file))
    return file


def batch_of(data: ArraySamples, count: int = 8) -> Batch:
    ids = np.arange(count)
    inputs = torch.from_numpy(inputs_of(data, ids)).float() / 255
    return named_batch(inputs, torch.from_numpy(labels_of(data)[ids]), torch.from_numpy(ids), 0, Classification())


def choices(teacher: OnnxFile) -> dict[str, str]:
    return {decision.what: decision.choice for decision in teacher.decisions}


def test_it_answers_without_gradients_and_counts_what_it_was_asked(tmp_path):
    data = samples()
    teacher = OnnxFile(write(tmp_path / "net.onnx"), CLASSES, data, normalise="none")

    answer = teacher.answer(batch_of(data))

    assert answer.logits.argmax(1).tolist() == [0, 1] * 4
    assert not answer.logits.requires_grad
    assert teacher.asked == 8


def test_the_normalisation_under_which_it_knows_most_is_taken(tmp_path):
    """Means of about 0.12 and 0.70 in 0–1 units are −0.77 and 0.41 after (x − 0.5) / 0.5, −1 and 1 after the data's own."""
    teacher = OnnxFile(write(tmp_path / "net.onnx", at=-0.9), CLASSES, samples())

    assert teacher.normalisation is not None
    assert teacher.normalisation.name == "data"
    assert choices(teacher)["teacher's normalisation"].startswith("data")


def test_a_stated_normalisation_is_applied_as_stated(tmp_path):
    data = samples()
    file = write(tmp_path / "net.onnx", at=-0.15)
    by_name = OnnxFile(file, CLASSES, data, normalise="half").answer(batch_of(data)).logits
    by_numbers = OnnxFile(file, CLASSES, data, normalise=[[0.5], [0.5]]).answer(batch_of(data)).logits
    plain = OnnxFile(file, CLASSES, data, normalise="none").answer(batch_of(data)).logits

    assert torch.equal(by_name, by_numbers)
    assert not torch.equal(by_name, plain)


def test_probabilities_are_told_by_their_looks_and_become_logits(tmp_path):
    data = samples()
    logits = OnnxFile(write(tmp_path / "logits.onnx"), CLASSES, data, normalise="none").answer(batch_of(data)).logits
    teacher = OnnxFile(write(tmp_path / "softmax.onnx", softmax=True), CLASSES, data, normalise="none")

    answer = teacher.answer(batch_of(data)).logits

    difference = (answer.softmax(1) - logits.softmax(1)).abs()
    assert difference.max() < 1e-5, f"max {difference.max():.2e}, mean {difference.mean():.2e}"
    assert "teacher's outputs" in choices(teacher)


def test_a_model_that_takes_camera_pixels_gets_them(tmp_path):
    data = samples()
    plain = OnnxFile(write(tmp_path / "plain.onnx"), CLASSES, data, normalise="none").answer(batch_of(data)).logits
    teacher = OnnxFile(write(tmp_path / "camera.onnx", uint8=True), CLASSES, data)

    assert torch.allclose(teacher.answer(batch_of(data)).logits, plain, atol=1e-5)
    with pytest.raises(ModelError, match="takes uint8 pixels, so it cannot be normalised otherwise"):
        OnnxFile(write(tmp_path / "camera.onnx", uint8=True), CLASSES, data, normalise="half")


def test_without_labels_the_normalisation_must_be_stated(tmp_path):
    with pytest.raises(ModelError, match="cannot be measured without labels") as told:
        OnnxFile(write(tmp_path / "net.onnx"), CLASSES, samples(labelled=False))

    assert "teacher.normalise" in (told.value.hint or "")


def test_other_classes_are_refused(tmp_path):
    file = write(tmp_path / "net.onnx", outputs=3)
    with pytest.raises(ModelError, match="3 outputs, the data has 2 classes"):
        OnnxFile(file, CLASSES, samples(), normalise="none")

    named_file = write(tmp_path / "named.onnx")
    model = onnx.load(str(named_file))
    entry = model.metadata_props.add()
    entry.key, entry.value = "compress.classes", json.dumps(["bright", "dark"])
    onnx.save(model, str(named_file))
    with pytest.raises(ModelError, match=r"the teacher knows 2 classes \(bright, dark"):
        OnnxFile(named_file, CLASSES, samples(), normalise="none")


def test_data_of_another_shape_is_refused_with_the_shape(tmp_path):
    others = class_samples(np.zeros((4, 1, 3, 3), np.uint8), np.zeros(4, np.int64))

    with pytest.raises(ModelError, match=r"does not take samples of image uint8 \[1, 3, 3\]"):
        OnnxFile(write(tmp_path / "net.onnx"), CLASSES, others, normalise="none")


def test_a_model_that_knows_nothing_of_the_data_is_refused(tmp_path):
    with pytest.raises(ModelError, match="knows next to nothing of this data"):
        OnnxFile(write(tmp_path / "net.onnx", at=90.0), CLASSES, samples())


def test_a_file_that_is_no_model_is_refused(tmp_path):
    file = tmp_path / "net.onnx"
    file.write_bytes(b"nothing of the kind")

    with pytest.raises(ModelError, match="ONNX Runtime cannot load this model"):
        OnnxFile(file, CLASSES, samples())


@pytest.mark.parametrize("options", [{"normalise": "zero-mean"}, {"outputs": "scores"}])
def test_unknown_options_are_refused(tmp_path, options):
    with pytest.raises(InputError, match=r"zero-mean|scores"):
        OnnxFile(write(tmp_path / "net.onnx"), CLASSES, samples(), **options)


@pytest.mark.parametrize("softmax", [False, True])
def test_its_copy_says_what_it_takes_and_gives_the_same_logits(tmp_path, softmax):
    data = samples()
    file = write(tmp_path / "net.onnx", at=-0.15, softmax=softmax)
    teacher = OnnxFile(file, CLASSES, data, normalise="half")
    copy = tmp_path / "copy.onnx"
    write_copy(file, copy, normalisation=HALF, gives_probabilities=teacher.gives_probabilities, smallest=SMALLEST)

    again = OnnxFile(copy, CLASSES, samples(labelled=False))

    ours, theirs = (each.answer(batch_of(data)).logits for each in (teacher, again))
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert again.normalisation is None
    assert not again.gives_probabilities

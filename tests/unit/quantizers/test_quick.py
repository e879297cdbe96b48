"""An int8 file made in seconds, for measuring."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
from onnx import TensorProto

from compressor.quantizers._quick import make_int8
from compressor.quantizers._targets import cpu
from compressor.runtimes.ort_cpu import OrtCpu
from tests.named import predicted

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 3, 8, 8), dtype=np.uint8)


def answers(file) -> np.ndarray:
    runtime = OrtCpu()
    runtime.load(file)
    return np.asarray(predicted(runtime, PIXELS))


def test_the_file_is_quantized_where_it_lies(convolutions, tmp_path):
    file = tmp_path / "model.onnx"
    shutil.copyfile(convolutions, file)

    make_int8(file, samples={"image": PIXELS}, cpu=cpu("this"))

    weights = [each for each in onnx.load(file).graph.initializer if each.data_type == TensorProto.INT8]
    assert len([each for each in weights if len(each.dims) == 4]) == 3
    assert list(tmp_path.iterdir()) == [file]


def test_it_answers_nearly_as_before_and_knows_its_classes(convolutions, tmp_path):
    file = tmp_path / "model.onnx"
    shutil.copyfile(convolutions, file)
    before = answers(file)

    make_int8(file, samples={"image": PIXELS}, cpu=cpu("this"))

    assert np.abs(answers(file) - before).max() < 0.1 * np.ptp(before)
    metadata = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert json.loads(metadata["compress.classes"]) == list("abcde")

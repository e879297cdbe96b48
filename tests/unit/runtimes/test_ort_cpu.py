"""ONNX Runtime on the CPU: real sessions on small models, and what happens with broken ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state

from compressor.errors import MeasurementError, ModelError
from compressor.runtimes._onnx_runtime import edge
from compressor.runtimes.ort_cpu import OrtCpu
from tests.named import predicted

PIXELS = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
FOREIGN = [
    kind for kind in vars(onnxruntime_pybind11_state).values() if isinstance(kind, type) and issubclass(kind, Exception)
]


def save(file: Path, *, input_type: int, shape: list[int | str], inputs: int = 1) -> Path:
    """A model that gives back its first input as floats."""
    taken = [helper.make_tensor_value_info(f"in{i}", input_type, shape) for i in range(inputs)]
    given = helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)
    graph = helper.make_graph([helper.make_node("Cast", ["in0"], ["out"], to=TensorProto.FLOAT)], "g", taken, [given])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(file))
    return file


def loaded(path: Path) -> OrtCpu:
    runtime = OrtCpu(threads=1)
    runtime.load(path)
    return runtime


def test_a_folder_means_the_model_in_it(tmp_path: Path) -> None:
    save(tmp_path / "model.onnx", input_type=TensorProto.FLOAT, shape=["batch", 3])

    assert predicted(loaded(tmp_path), np.ones((2, 3), dtype=np.float32)).tolist() == [[1.0] * 3] * 2


def test_a_model_of_uint8_channels_last_gets_pixels_as_they_are_moved(tmp_path: Path) -> None:
    runtime = loaded(save(tmp_path / "m.onnx", input_type=TensorProto.UINT8, shape=["batch", 4, 5, 3]))

    assert np.array_equal(predicted(runtime, PIXELS), PIXELS.transpose(0, 2, 3, 1))


def test_a_model_without_fixed_sizes_gets_channels_first(tmp_path: Path) -> None:
    runtime = loaded(save(tmp_path / "m.onnx", input_type=TensorProto.UINT8, shape=["batch", "c", "h", "w"]))

    assert np.array_equal(predicted(runtime, PIXELS), PIXELS)


@pytest.mark.parametrize("input_type", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_a_model_of_floats_gets_pixels_in_zero_to_one(tmp_path: Path, input_type: int) -> None:
    runtime = loaded(save(tmp_path / "m.onnx", input_type=input_type, shape=["batch", 3, 4, 5]))

    assert np.allclose(predicted(runtime, PIXELS), PIXELS / 255, atol=1e-3)


def test_what_is_prepared_is_not_copied_again(tmp_path: Path) -> None:
    runtime = loaded(save(tmp_path / "m.onnx", input_type=TensorProto.FLOAT, shape=["batch", 3, 4, 5]))
    prepared = runtime.prepare({"input": PIXELS})

    assert runtime.prepare(prepared) is prepared


def test_it_says_its_provider_and_threads(tmp_path: Path) -> None:
    described = loaded(save(tmp_path / "m.onnx", input_type=TensorProto.FLOAT, shape=["batch", 3])).describe()

    assert (described["provider"], described["threads"]) == ("CPUExecutionProvider", 1)


def test_size_counts_the_weights_kept_outside_the_file(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones((64, 64), dtype=np.float32), "weights")
    rows = helper.make_tensor_value_info("in", TensorProto.FLOAT, ["batch", 64])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 64])
    graph = helper.make_graph([helper.make_node("MatMul", ["in", "weights"], ["out"])], "g", [rows], [out], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(tmp_path / "model.onnx"), save_as_external_data=True, location="model.bin", size_threshold=0)

    size = OrtCpu().file_size(tmp_path)

    assert size == sum((tmp_path / name).stat().st_size for name in ("model.onnx", "model.bin"))
    assert predicted(loaded(tmp_path), np.ones((1, 64), dtype=np.float32))[0, 0] == 64.0


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(b"not a model")

    with pytest.raises(ModelError, match=r"m\.onnx: ONNX Runtime cannot load this model"):
        OrtCpu().load(file)
    with pytest.raises(ModelError, match="not an ONNX model"):
        OrtCpu().file_size(file)


def test_a_missing_file_is_refused_with_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="compress export"):
        OrtCpu().load(tmp_path / "none.onnx")


def test_of_several_inputs_each_is_found_by_its_name(tmp_path: Path) -> None:
    runtime = loaded(save(tmp_path / "m.onnx", input_type=TensorProto.FLOAT, shape=["batch", 3], inputs=2))
    ones = np.ones((2, 3), np.float32)

    assert runtime.inputs.names == ("in0", "in1")
    assert runtime({"in1": 2 * ones, "in0": ones})["logits"].tolist() == ones.tolist()
    with pytest.raises(MeasurementError, match="takes 'in1', which samples do not have; they have image, in0"):
        runtime({"image": ones, "in0": ones})


def test_tokens_stay_whole_numbers_and_a_varying_axis_keeps_its_name(tmp_path: Path) -> None:
    runtime = loaded(save(tmp_path / "m.onnx", input_type=TensorProto.INT64, shape=["batch", "tokens"]))

    assert str(runtime.inputs) == "in0 int64 [tokens]"
    assert [predicted(runtime, np.ones((2, length), np.int64)).shape for length in (3, 7)] == [(2, 3), (2, 7)]


def test_every_output_comes_back_by_its_name(tmp_path: Path) -> None:
    taken = helper.make_tensor_value_info("in", TensorProto.FLOAT, ["batch", 3])
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("boxes", "scores")]
    nodes = [helper.make_node("Neg", ["in"], ["boxes"]), helper.make_node("Abs", ["in"], ["scores"])]
    graph = helper.make_graph(nodes, "g", [taken], given)
    file = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(file))
    runtime = loaded(file)

    found = runtime({"image": np.ones((1, 3), np.float32)})

    assert {name: array.tolist() for name, array in found.items()} == {"boxes": [[-1.0] * 3], "scores": [[1.0] * 3]}
    assert runtime.outputs.names == ("boxes", "scores")


def test_a_batch_of_the_wrong_type_or_rank_is_a_measurement_error(tmp_path: Path) -> None:
    runtime = loaded(save(tmp_path / "m.onnx", input_type=TensorProto.UINT8, shape=["batch", 3]))

    with pytest.raises(MeasurementError, match=r"cannot run a batch of float32 \[2, 3\]"):
        predicted(runtime, np.ones((2, 3), dtype=np.float32))
    with pytest.raises(MeasurementError, match=r"cannot run a batch of uint8 \[2, 3, 1\]"):
        predicted(runtime, np.ones((2, 3, 1), dtype=np.uint8))


def test_onnx_runtime_has_errors_of_its_own() -> None:
    assert len(FOREIGN) > 5


@pytest.mark.parametrize("kind", FOREIGN, ids=lambda kind: kind.__name__)
def test_no_error_of_onnx_runtime_leaks(kind: type[Exception]) -> None:
    with pytest.raises(MeasurementError, match=r"it failed: first line$"), edge(MeasurementError, "it failed"):
        raise kind("first line\nsecond line")


def test_it_does_not_import_torch() -> None:
    program = "import sys, compressor.runtimes.ort_cpu; assert 'torch' not in sys.modules"

    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_model_of_one_batch_size_answers_any_number_of_samples(tmp_path: Path) -> None:
    runtime = loaded(save(tmp_path / "m.onnx", input_type=TensorProto.FLOAT, shape=[4, 3]))
    samples = np.random.default_rng(0).random((10, 3), dtype=np.float32)

    assert runtime.batch == 4
    assert np.array_equal(predicted(runtime, samples), samples)
    assert np.array_equal(predicted(runtime, samples[:1]), samples[:1])
    assert runtime.operators({"input": samples[:2]}, runs=2)

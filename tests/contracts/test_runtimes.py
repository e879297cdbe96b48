"""What every member of `runtimes` must do where it is, and say where it is not; a new file is picked up by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from compressor import registry
from compressor.errors import CompressError, MeasurementError
from compressor.runtimes._contract import Runtime
from tests.named import predicted

MEMBERS = registry.members("runtimes")
C, H, W, K = 2, 3, 3, 4
WEIGHTS_FK = np.random.default_rng(0).normal(size=(C * H * W, K)).astype(np.float32)
INPUTS = np.random.default_rng(1).random((5, C, H, W), dtype=np.float32)


def write_onnx(folder: Path) -> Path:
    """A linear classifier as an ONNX file with a dynamic batch."""
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pixels"], ["rows"]),
            helper.make_node("MatMul", ["rows", "weights"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", C, H, W])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", K])],
        [numpy_helper.from_array(WEIGHTS_FK, "weights")],
    )
    file = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(file))
    return file


def write_table(folder: Path) -> Path:
    """The same classifier for the fake."""
    file = folder / "table.json"
    file.write_text(json.dumps({"weights": WEIGHTS_FK.tolist()}))
    return file


def linear_network() -> torch.nn.Module:
    """The same classifier in PyTorch."""
    linear = torch.nn.Linear(C * H * W, K, bias=False)
    linear.weight.data = torch.from_numpy(WEIGHTS_FK.T.copy())
    return torch.nn.Sequential(torch.nn.Flatten(), linear).eval()


def loaded(member: registry.Member, path: Path) -> Runtime:
    runtime: Runtime = member.load()(threads=1)
    runtime.load(path)
    return runtime


def made(member: registry.Member, folder: Path) -> Runtime:
    """The classifier above, ready to answer: as a network where the runtime takes one, else as a file."""
    kind = member.load()
    if hasattr(kind, "from_network"):
        runtime: Runtime = kind.from_network(linear_network())
        return runtime
    return loaded(member, write_table(folder) if member.name == "fake" else write_onnx(folder))


HERE = [member for member in MEMBERS if member.load()().unavailable() is None]
ABSENT = [member for member in MEMBERS if member not in HERE]


@pytest.fixture(params=HERE, ids=lambda member: member.name)
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runtime]:
    ready = made(request.param, tmp_path)
    yield ready
    ready.close()


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_it_has_a_summary_and_every_option_has_help(member: registry.Member) -> None:
    assert member.summary.endswith(".")
    assert "threads" in {option.name for option in member.options}
    assert all(option.help for option in member.options)


def test_those_that_need_nothing_more_are_here() -> None:
    assert {"fake", "ort_cpu", "ort_mobile", "torch"} <= {member.name for member in HERE}


@pytest.mark.parametrize("member", ABSENT, ids=lambda member: member.name)
def test_an_absent_one_names_the_line_that_installs_it_and_loads_nothing(
    member: registry.Member, tmp_path: Path
) -> None:
    runtime = member.load()()
    reason = runtime.unavailable()

    assert any(line in reason for line in ("pip install", "apt install", "build ONNX Runtime with"))
    if member.name.startswith("ort"):
        with pytest.raises(CompressError) as told:
            runtime.load(write_onnx(tmp_path))
        assert told.value.message == reason


def test_it_says_where_an_inference_spends_its_time(runtime: Runtime) -> None:
    operators = runtime.operators({"input": INPUTS}, runs=3)

    assert operators
    assert all(each.name and each.op and each.provider and each.ms >= 0 for each in operators)


def test_it_answers_with_float32_rows(runtime: Runtime) -> None:
    answer = predicted(runtime, INPUTS)

    assert (answer.shape, answer.dtype) == ((5, K), np.float32)


def test_it_gives_the_same_numbers_as_numpy(runtime: Runtime) -> None:
    difference = np.abs(predicted(runtime, INPUTS) - INPUTS.reshape(5, -1) @ WEIGHTS_FK)

    assert difference.max() < 1e-5, f"max {difference.max():.2g}, mean {difference.mean():.2g}"


def test_an_answer_does_not_depend_on_the_rest_of_the_batch(runtime: Runtime) -> None:
    alone = np.concatenate([predicted(runtime, INPUTS[i : i + 1]) for i in range(len(INPUTS))])

    assert np.allclose(alone, predicted(runtime, INPUTS), atol=1e-5)


def test_uint8_pixels_are_shares_of_255(runtime: Runtime) -> None:
    pixels = np.round(INPUTS * 255).astype(np.uint8)

    assert np.allclose(predicted(runtime, pixels), predicted(runtime, pixels.astype(np.float32) / 255), atol=1e-5)


def test_preparing_twice_changes_nothing(runtime: Runtime) -> None:
    once = runtime.prepare({"input": INPUTS})

    again = runtime.prepare(once)
    assert all(np.array_equal(again[name], array) for name, array in once.items())


def test_it_takes_inputs_that_may_not_be_written_to(runtime: Runtime) -> None:
    frozen = INPUTS.copy()
    frozen.flags.writeable = False

    assert np.allclose(predicted(runtime, frozen), predicted(runtime, INPUTS))


def test_it_says_what_really_ran(runtime: Runtime) -> None:
    described = runtime.describe()

    assert {"runtime", "version", "provider", "threads"} <= set(described)
    assert all(type(value) in (str, int) for value in described.values())


def test_samples_of_another_size_are_refused(runtime: Runtime) -> None:
    with pytest.raises(MeasurementError, match=r"batch|samples"):
        predicted(runtime, np.zeros((1, C, H + 1, W), dtype=np.float32))


def test_it_can_be_closed_twice_and_then_answers_no_more(runtime: Runtime) -> None:
    runtime.close()
    runtime.close()

    with pytest.raises(MeasurementError, match="no model is loaded"):
        predicted(runtime, INPUTS)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_a_path_without_a_model_is_refused(member: registry.Member, tmp_path: Path) -> None:
    with pytest.raises(CompressError, match="nowhere"):
        member.load()().load(tmp_path / "nowhere")


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_nothing_deployed_has_no_size(member: registry.Member, tmp_path: Path) -> None:
    with pytest.raises(CompressError, match="nowhere"):
        member.load()().file_size(tmp_path / "nowhere")

"""What can be known of the runtimes for GPUs without one: what they ask for, and what they make of a refusal."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from onnxruntime.capi import onnxruntime_pybind11_state
from torch import nn

from compressor.errors import MeasurementError, ModelError
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.runtimes._onnx_runtime import CPU, OnnxRuntime
from compressor.runtimes._pytorch import PyTorch
from compressor.runtimes.ort_cpu import OrtCpu
from compressor.runtimes.ort_cuda import OrtCuda
from compressor.runtimes.ort_tensorrt import OrtTensorRt
from compressor.runtimes.torch_cuda import TorchCuda
from tests.contracts.test_runtimes import write_onnx
from tests.named import predicted

ROWS = np.ones((2, 2, 3, 3), dtype=np.float32)


@pytest.fixture
def compiled_in(monkeypatch):
    """A build of ONNX Runtime that has the providers of NVIDIA, on this machine, which cannot start them."""
    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize("made", [OrtCuda, OrtTensorRt])
def test_a_provider_that_is_built_in_and_cannot_start_is_not_here(
    compiled_in, made: type[OnnxRuntime], tmp_path
) -> None:
    reason = made().unavailable()

    assert reason is not None
    assert "does not start here" in reason
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in reason
    with pytest.raises(ModelError, match="does not start here"):
        made().load(write_onnx(tmp_path))


def test_an_inference_that_fails_is_not_repeated_on_the_cpu(monkeypatch, tmp_path: Path) -> None:
    runtime = OrtCpu(threads=1)
    runtime.load(write_onnx(tmp_path))
    real = runtime._session._sess

    class OutOfMemory:
        def run(self, *_: object) -> None:
            raise onnxruntime_pybind11_state.EPFail("out of memory")

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    monkeypatch.setattr(runtime._session, "_sess", OutOfMemory())

    with pytest.raises(MeasurementError, match="out of memory"):
        predicted(runtime, ROWS)


def test_tensorrt_is_asked_in_its_own_words_and_cuda_comes_before_the_cpu(compiled_in, monkeypatch, tmp_path) -> None:
    asked = []

    class Session:
        def __init__(self, model, options, *, providers, enable_fallback) -> None:
            asked.append((providers, enable_fallback))
            raise ValueError("no GPU")

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    OrtTensorRt(device=1, fp16=True).unavailable()
    OrtTensorRt(bf16=True).unavailable()

    (tensorrt, cuda, cpu), fallback = asked[0]
    assert tensorrt[1] == {"device_id": "1", "trt_fp16_enable": "True", "trt_int8_enable": "False"}
    assert (cuda, cpu, fallback) == (("CUDAExecutionProvider", {"device_id": "1"}), CPU, 0)
    assert asked[1][0][0][1]["trt_bf16_enable"] == "True"


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_sixteen_bits_are_for_the_layers_and_not_for_the_scales_around_them(precision: str) -> None:
    inner = nn.Linear(3, 1)
    with torch.no_grad():
        inner.weight.fill_(0.5)
        inner.bias.fill_(0.0)
    scales = Normalisation("stated", mean=(1e6, 0.0, 0.0), std=(1e6, 1.0, 1.0), outputs=((200_000.0,), (80_000.0,)))
    network = Network(inner, scales).eval()
    rows = np.array([[2e6, 1.0, 1.0], [1e6, 0.0, 1.0]], dtype=np.float32)
    expected = predicted(PyTorch.from_network(network), rows)

    found = predicted(TorchCuda.from_network(network, device="cpu", precision=precision), rows)

    assert np.allclose(found, expected, rtol=0.01)
    assert network.module.module.weight.dtype is {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def test_a_network_without_scales_is_cast_whole() -> None:
    found = predicted(
        TorchCuda.from_network(nn.Linear(3, 1).eval(), device="cpu", precision="bf16"), np.ones((2, 3), np.float32)
    )

    assert (found.shape, found.dtype) == ((2, 1), np.float32)


def test_the_time_of_a_kernel_is_not_counted_for_its_operator_as_well(monkeypatch) -> None:
    from torch._C._autograd import DeviceType

    op = SimpleNamespace(key="aten::mm", device_type=DeviceType.CPU, self_device_time_total=100.0)
    kernel = SimpleNamespace(key="sgemm", device_type=DeviceType.CUDA, self_device_time_total=100.0)

    class Profile:
        def __init__(self, activities) -> None: ...
        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None: ...
        def key_averages(self):
            return [op, kernel]

    monkeypatch.setattr(torch.profiler, "profile", Profile)
    runtime = PyTorch.from_network(nn.Linear(3, 1).eval())
    monkeypatch.setattr(runtime, "_device", "cuda")
    monkeypatch.setattr(PyTorch, "__call__", lambda self, inputs: inputs)

    assert [(each.name, each.ms) for each in runtime.operators({"input": np.ones((2, 3), np.float32)}, runs=1)] == [
        ("sgemm", 0.1)
    ]

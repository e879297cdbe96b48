"""ONNX Runtime with TensorRT on an NVIDIA GPU. Does not import torch."""

from __future__ import annotations

from compressor.runtimes._onnx_runtime import OnnxRuntime


class OrtTensorRt(OnnxRuntime):
    """ONNX Runtime with TensorRT on an NVIDIA GPU."""

    def __init__(self, *, threads: int = 0, device: int = 0, fp16: bool = False, int8: bool = False) -> None:
        """Set up without a model.

        Args:
            threads: threads of what stays on the CPU; 0 for all cores this process may use
            device: number of the GPU
            fp16: layers may run in 16 bits
            int8: layers may run in 8 bits, as the model's quantization says
        """
        super().__init__(
            threads=threads,
            provider="TensorrtExecutionProvider",
            provider_options={
                "device_id": str(device),
                "trt_fp16_enable": "1" if fp16 else "0",
                "trt_int8_enable": "1" if int8 else "0",
            },
            install="pip install onnxruntime-gpu tensorrt, in the place of onnxruntime, on a machine with an NVIDIA GPU",
        )

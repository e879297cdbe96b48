"""ONNX Runtime with Intel's OpenVINO. Does not import torch."""

from __future__ import annotations

from compressor.runtimes._onnx_runtime import OnnxRuntime


class OrtOpenVino(OnnxRuntime):
    """ONNX Runtime with OpenVINO, on Intel's CPUs, GPUs and NPUs."""

    def __init__(self, *, threads: int = 0, device: str = "CPU", precision: str = "") -> None:
        """Set up without a model.

        Args:
            threads: threads that OpenVINO may use; 0 for all cores this process may use
            device: CPU | GPU | NPU | AUTO
            precision: FP32 | FP16 | ACCURACY; empty for the device's own
        """
        super().__init__(
            threads=threads,
            provider="OpenVINOExecutionProvider",
            install="pip install onnxruntime-openvino, in the place of onnxruntime",
        )
        self._provider_options = {"device_type": device, "num_of_threads": str(self._threads)}
        if precision:
            self._provider_options["precision"] = precision

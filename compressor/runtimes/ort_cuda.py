"""ONNX Runtime on an NVIDIA GPU. Does not import torch."""

from __future__ import annotations

from compressor.runtimes._onnx_runtime import OnnxRuntime


class OrtCuda(OnnxRuntime):
    """ONNX Runtime on an NVIDIA GPU."""

    def __init__(self, *, threads: int = 0, device: int = 0, graphs: bool = False) -> None:
        """Set up without a model.

        Args:
            threads: threads of what stays on the CPU; 0 for all cores this process may use
            device: number of the GPU
            graphs: an inference is recorded once and replayed (CUDA graphs); every shape must stay the same
        """
        super().__init__(
            threads=threads,
            provider="CUDAExecutionProvider",
            provider_options={"device_id": str(device), "enable_cuda_graph": "1" if graphs else "0"},
            install="pip install onnxruntime-gpu, in the place of onnxruntime, on a machine with an NVIDIA GPU",
        )

"""ONNX Runtime on an NVIDIA GPU. Does not import torch.

Not covered: its CUDA graphs, which need inputs and outputs at fixed places on the GPU; `torch_cuda` records graphs.
"""

from __future__ import annotations

from compressor.runtimes import _nvidia
from compressor.runtimes._onnx_runtime import OnnxRuntime


class OrtCuda(OnnxRuntime):
    """ONNX Runtime on an NVIDIA GPU."""

    needs = ("gpu",)

    def __init__(self, *, threads: int = 0, device: int = 0) -> None:
        """Set up without a model.

        Args:
            threads: threads of what stays on the CPU; 0 for all cores this process may use
            device: number of the GPU
        """
        super().__init__(
            threads=threads,
            provider=_nvidia.CUDA,
            provider_options={"device_id": str(device)},
            install="pip install 'onnxruntime-gpu[cuda,cudnn]', in the place of onnxruntime, "
            "on a machine with an NVIDIA GPU",
        )

    def _load_libraries(self) -> None:
        _nvidia.load_libraries()

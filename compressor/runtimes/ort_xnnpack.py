"""ONNX Runtime with XNNPACK, the float kernels of Android and iOS. Does not import torch."""

from __future__ import annotations

from compressor.runtimes._onnx_runtime import OnnxRuntime


class OrtXnnpack(OnnxRuntime):
    """ONNX Runtime with XNNPACK, the kernels for phones."""

    def __init__(self, *, threads: int = 0) -> None:
        """Set up without a model.

        Args:
            threads: threads of XNNPACK's own pool; 0 for all cores this process may use
        """
        super().__init__(
            threads=threads,
            provider="XnnpackExecutionProvider",
            install="build ONNX Runtime with --use_xnnpack (its phone packages have it, its wheels do not)",
        )
        self._provider_options = {"intra_op_num_threads": str(self._threads)}

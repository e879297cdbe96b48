"""ONNX Runtime on the CPU. Does not import torch."""

from __future__ import annotations

from compressor.runtimes._onnx_runtime import OnnxRuntime


class OrtCpu(OnnxRuntime):
    """ONNX Runtime on the CPU."""

    def __init__(self, *, threads: int = 0, spinning: bool = False, arena: bool = True) -> None:
        """Set up without a model.

        Args:
            threads: threads within an operator; 0 for all cores this process may use
            spinning: idle threads wait busily: faster between short operators, and it takes the cores from others
            arena: memory is kept for the next inference: faster, and more is occupied
        """
        super().__init__(threads=threads, spinning=spinning, arena=arena)

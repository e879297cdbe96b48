"""PyTorch in eager mode: the network as it was trained, without compilation or export."""

from __future__ import annotations

from compressor.runtimes._pytorch import PyTorch


class TorchEager(PyTorch):
    """PyTorch in eager mode, as the network was trained."""

    def __init__(self, *, threads: int = 0, device: str = "cpu") -> None:
        """Set up without a network.

        Args:
            threads: threads within an operator, set for the whole process at load; 0 for all cores it may use
            device: cpu | cuda | cuda:1 | mps
        """
        super().__init__(threads=threads, device=device)

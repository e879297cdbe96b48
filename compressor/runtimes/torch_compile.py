"""PyTorch with `torch.compile`: the network as it was trained, compiled for the shapes it meets."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from compressor.runtimes._pytorch import PyTorch

if TYPE_CHECKING:
    from torch import nn


class TorchCompile(PyTorch):
    """PyTorch with torch.compile, on the CPU or a GPU."""

    def __init__(self, *, threads: int = 0, device: str = "cpu", mode: str = "default") -> None:
        """Set up without a network.

        Args:
            threads: threads within an operator, set for the whole process at load; 0 for all cores it may use
            device: cpu | cuda | cuda:1
            mode: default | reduce-overhead | max-autotune
        """
        super().__init__(threads=threads, device=device)
        self._mode = mode

    def unavailable(self) -> str | None:
        """Why it cannot compile here; None when it can."""
        missing = super().unavailable()
        if missing is None and not self._device.startswith("cuda"):
            import shutil

            if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
                return "torch.compile needs a C++ compiler on the CPU; apt install g++"
        return missing

    def _placed(self, network: nn.Module) -> nn.Module:
        placed = super()._placed(network)
        return cast("nn.Module", torch.compile(placed, mode=None if self._mode == "default" else self._mode))

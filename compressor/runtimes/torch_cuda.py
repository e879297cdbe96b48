"""PyTorch on an NVIDIA GPU, in 32 or 16 bits, with or without CUDA graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from compressor.errors import InputError
from compressor.runtimes._pytorch import PyTorch

if TYPE_CHECKING:
    from torch import nn

_DTYPES: Mapping[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_WARM = 3  # inferences before a graph is recorded, so that kernels are chosen and memory is there


class TorchCuda(PyTorch):
    """PyTorch on an NVIDIA GPU, in 32 or 16 bits."""

    def __init__(
        self, *, threads: int = 0, device: str = "cuda", precision: str = "fp32", graphs: bool = False
    ) -> None:
        """Set up without a network.

        Args:
            threads: threads of what stays on the CPU; 0 for all cores this process may use
            device: cuda | cuda:1
            precision: fp32 | bf16 | fp16
            graphs: an inference is recorded once for each shape and replayed

        Raises:
            InputError: There is no such precision.
        """
        if precision not in _DTYPES:
            raise InputError(f"'{precision}' is no precision", where="precision", hint=f"write {', '.join(_DTYPES)}")
        super().__init__(threads=threads, device=device)
        self._dtype = _DTYPES[precision]
        self._graphs = graphs
        self._recorded: dict[tuple[int, ...], tuple[Any, torch.Tensor, torch.Tensor]] = {}

    def close(self) -> None:
        """Let go of the network and of what was recorded."""
        super().close()
        self._recorded.clear()

    def describe(self) -> dict[str, str | int]:
        """The device with its precision, and the threads that PyTorch uses in this process."""
        how = f"{str(self._dtype).removeprefix('torch.')}{', CUDA graphs' if self._graphs else ''}"
        return {**super().describe(), "precision": how}

    def _placed(self, network: nn.Module) -> nn.Module:
        return super()._placed(network).to(dtype=self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _answer(self, network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        cast = batch.to(self._dtype)
        if not self._graphs:
            return super()._answer(network, cast)
        shape = tuple(cast.shape)
        if shape not in self._recorded:
            self._recorded[shape] = self._record(network, cast)
        graph, inputs, outputs = self._recorded[shape]
        inputs.copy_(cast)
        graph.replay()
        return outputs

    def _record(self, network: nn.Module, batch: torch.Tensor) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """A graph of one inference with the tensors it reads and writes (torch.cuda.graph's documented way)."""
        inputs = batch.clone()
        aside = torch.cuda.Stream(device=inputs.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(inputs.device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM):
                super()._answer(network, inputs)
        torch.cuda.current_stream(inputs.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = super()._answer(network, inputs)
        return graph, inputs, outputs

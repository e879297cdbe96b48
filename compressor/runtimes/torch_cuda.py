"""PyTorch on an NVIDIA GPU, in 32 or 16 bits, with or without CUDA graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from compressor.errors import InputError, MeasurementError
from compressor.models.network import Network, logits_of
from compressor.runtimes._pytorch import PyTorch

if TYPE_CHECKING:
    from torch import Tensor

    from compressor.tensors import Inputs

_DTYPES: Mapping[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_WARM = 3  # inferences before a graph is recorded, so that kernels are chosen and memory is there


class TorchCuda(PyTorch):
    """PyTorch on an NVIDIA GPU, in 32 or 16 bits."""

    needs = ("gpu",)

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
        placed = super()._placed(network).to(memory_format=torch.channels_last)
        if self._dtype is torch.float32:
            return placed
        # The scales of inputs and outputs stay in 32 bits: what they hold need not fit into 16.
        inner = [part for part in placed.modules() if isinstance(part, Network)]
        for part in inner:
            part.module = _Cast(part.module, self._dtype)
        return placed if inner else _Cast(placed, self._dtype)

    def _answer(self, network: nn.Module, batch: Inputs) -> torch.Tensor | Mapping[str, torch.Tensor]:
        if not self._graphs:
            return super()._answer(network, batch)
        if not isinstance(batch, torch.Tensor):
            raise MeasurementError("CUDA graphs are recorded for networks of one input", hint="leave out graphs = true")
        shape = tuple(batch.shape)
        if shape not in self._recorded:
            self._recorded[shape] = self._record(network, batch)
        graph, inputs, outputs = self._recorded[shape]
        inputs.copy_(batch)
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
        # A stream of its own would be made on the first GPU, wherever the network is.
        with torch.cuda.device(inputs.device), torch.cuda.graph(graph, stream=aside):
            outputs = super()._answer(network, inputs)
        if not isinstance(outputs, torch.Tensor):
            raise MeasurementError(
                "CUDA graphs are recorded for networks of one output", hint="leave out graphs = true"
            )
        return graph, inputs, outputs


class _Cast(nn.Module):
    """A network in 16 bits between inputs and logits in 32."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module = module.to(dtype)
        self.dtype = dtype

    def forward(self, inputs: Tensor) -> Tensor:
        return logits_of(self.module(inputs.to(self.dtype))).float()

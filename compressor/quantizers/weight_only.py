"""Weights in blocks of 4 or 8 bits, activations in float: for models whose size is in their matrix products."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

from compressor.artifact import Decision
from compressor.errors import InputError, ModelError
from compressor.quantizers import _graph
from compressor.quantizers._contract import Calibration, Cpu, Prepared

_PRODUCTS = frozenset({"MatMul"})


class WeightOnly:
    """Weights of matrix products in blocks of 4 or 8 bits, everything else in float: a smaller file.

    Args:
        bits: Of a weight.
        block_size: Weights that share a scale, a power of two from 16.

    Raises:
        InputError: An option is out of range.
    """

    needs_calibration = False

    def __init__(self, *, bits: Literal[4, 8] = 8, block_size: int = 32) -> None:
        if bits not in (4, 8):
            raise InputError(f"bits = {bits} must be 4 or 8", where="quantize.options.bits")
        if block_size < 16 or block_size & (block_size - 1):
            where = "quantize.options.block_size"
            raise InputError(f"block_size = {block_size} must be a power of two, 16 or more", where=where)
        self.bits = bits
        self.block_size = block_size

    def prepare(self, source: Path, *, calibration: Calibration, cpu: Cpu, scratch: Path) -> Prepared:
        """See `_contract.PostTraining`."""
        file = _graph.prepared(source, scratch)
        nodes = _graph.weighted_nodes(file, _PRODUCTS)
        if not nodes:
            hint = "use method = static, or float16 for a smaller file"
            raise ModelError("has no matrix product with weights (MatMul)", where=str(source), hint=hint)
        return _WeightOnly(file, nodes, (), self.bits, self.block_size)


@dataclass(frozen=True)
class _WeightOnly:
    """See `_contract.Prepared`."""

    float_model: Path
    nodes: tuple[str, ...]
    decisions: tuple[Decision, ...]
    bits: int
    block_size: int

    def write(self, destination: Path, *, keep_float: Collection[str] = ()) -> None:
        """Write the model."""
        config = DefaultWeightOnlyQuantConfig(block_size=self.block_size, is_symmetric=True, bits=self.bits)
        with _graph.kept_quiet():
            quantizer = MatMulNBitsQuantizer(
                onnx.load(self.float_model), algo_config=config, nodes_to_exclude=list(keep_float)
            )
            quantizer.process()
        _graph.save(quantizer.model.model, destination, source=self.float_model)

"""Dynamic int8 with ONNX Runtime's quantizer: weights in advance, the range of activations at every inference."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.onnx_model import ONNXModel

from compressor.artifact import Decision
from compressor.errors import ModelError
from compressor.quantizers import _graph
from compressor.quantizers._contract import Calibration, Cpu, Prepared

_PRODUCTS = frozenset({"MatMul", "Gemm"})


class Dynamic:
    """Int8 matrix products whose activations are measured at every inference; convolutions stay float.

    It needs no calibration and suits transformers. ONNX Runtime's dynamic convolution is many times slower than float
    (microsoft/onnxruntime#12854), so a model of convolutions alone is refused.

    Args:
        per_channel: A scale for each output channel of weights.
    """

    needs_calibration = False

    def __init__(self, *, per_channel: bool = True) -> None:
        self.per_channel = per_channel

    def prepare(self, source: Path, *, calibration: Calibration, cpu: Cpu, scratch: Path) -> Prepared:
        """See `_contract.PostTraining`."""
        file = _graph.prepared(source, scratch)
        nodes = _graph.weighted_nodes(file, _PRODUCTS)
        if not nodes:
            raise ModelError("has no matrix product with weights", where=str(source), hint="use method = static")
        why: tuple[Decision, ...] = ()
        convolutions = len(_graph.nodes_of(file, frozenset({"Conv"})))
        if convolutions:
            reason = f"{convolutions} of them; dynamic convolutions are slower than float in ONNX Runtime"
            why = (Decision("convolutions", "float", reason),)
        return _Dynamic(file, nodes, why, cpu, self.per_channel)


@dataclass(frozen=True)
class _Dynamic:
    """See `_contract.Prepared`."""

    float_model: Path
    nodes: tuple[str, ...]
    decisions: tuple[Decision, ...]
    cpu: Cpu
    per_channel: bool

    def write(self, destination: Path, *, keep_float: Collection[str] = ()) -> None:
        """Write the model."""
        model = onnx.load(self.float_model)
        with _graph.kept_quiet():
            _split_gemms(model)
            left_whole = [
                each.name for each in model.graph.node if each.op_type in _PRODUCTS and each.name not in self.nodes
            ]
            quantize_dynamic(
                model,
                str(destination),
                op_types_to_quantize=sorted(_PRODUCTS),
                per_channel=self.per_channel,
                reduce_range=self.cpu.reduce_range,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=[*keep_float, *left_whole],
                extra_options={"MatMulConstBOnly": True},
            )
        _graph.save(onnx.load(destination), destination, source=self.float_model)


def _split_gemms(model: Any) -> None:
    """Make a product and an addition of each Gemm, in place, the product under its name.

    ONNX Runtime's quantizer does the same first, but names the product `x_MatMul`, which no name to exclude then matches.
    """
    names = {node.name for node in model.graph.node if node.op_type == "Gemm"}
    ONNXModel(model).replace_gemm_with_matmul()
    for node in model.graph.node:
        name = node.name.removesuffix("_MatMul")
        if node.op_type == "MatMul" and name in names:
            node.name = name

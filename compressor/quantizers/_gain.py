"""What quantizing each layer saves, in milliseconds, from ONNX Runtime's own profile of the float and the quantized model.

The runtime fuses and renames nodes, so time is booked by layers: convolutions and matrix products. What runs after one and
before the next (activations, additions, conversions) is booked to the layer it comes from; changes of layout between
kernels belong to none and are left over.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from compressor.quantizers._batches import Batch
from compressor.runtimes._contract import OperatorTime
from compressor.runtimes.ort_cpu import OrtCpu

LAYERS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
"""Operators that are layers: what is quantized or left in float as a whole."""

_RUNS = 60
_SUFFIX = re.compile(r"(_token_\d+|_nchwc|_QuantizeLinear(_Input)?|_DequantizeLinear(_Output)?|_quant|_fused|_Q\d+)+$")


@dataclass(frozen=True)
class LayerTimes:
    """Where an inference spends its time.

    Attributes:
        by_layer: Node name of a layer -> milliseconds.
        left_over: Milliseconds that belong to no layer.
    """

    by_layer: Mapping[str, float]
    left_over: float


def layers_of(file: Path) -> dict[str, str]:
    """Node name -> operator of each layer, in the order they run."""
    return {node.name: node.op_type for node in onnx.load(file).graph.node if node.op_type in LAYERS}


def layer_times(file: Path, *, like: Path, inputs: Batch, threads: int) -> LayerTimes:
    """The median time of each layer over some inferences.

    Args:
        file: The model that is run.
        like: The float model whose nodes name the layers.
        inputs: One batch, as the model takes it.
        threads: Within an operator.
    """
    runtime = OrtCpu(threads=threads)
    runtime.load(file)
    try:
        times = runtime.operators(inputs, runs=_RUNS)
    finally:
        runtime.close()
    return _booked(times, owner=_owners(onnx.load(like)))


def _booked(times: Sequence[OperatorTime], *, owner: Mapping[str, str]) -> LayerTimes:
    by_layer: dict[str, float] = defaultdict(float)
    left_over = 0.0
    for each in times:
        layer = owner.get(each.name) or owner.get(_SUFFIX.sub("", each.name))
        if layer is None:
            left_over += each.ms
        else:
            by_layer[layer] += each.ms
    return LayerTimes(dict(by_layer), left_over)


def _owners(model: Any) -> dict[str, str]:
    """Names of nodes and tensors -> the layer that their time is booked to: the last one before them."""
    found: dict[str, str] = {}
    for node in model.graph.node:
        layer = node.name if node.op_type in LAYERS else next((found[i] for i in node.input if i in found), None)
        if layer is not None:
            found |= dict.fromkeys((node.name, *node.output), layer)
    return found

"""An int8 model in QDQ form: ONNX Runtime's quantizer with ranges that are known, and biases that may be corrected."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from compressor.artifact import Decision
from compressor.quantizers import _graph
from compressor.quantizers._contract import Cpu

_TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
OPERATORS = frozenset({*QDQRegistry, *QLinearOpsRegistry})
"""Kinds of nodes that have a quantized form."""

LAYERS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
"""Those of them that have weights."""


@dataclass(frozen=True)
class Qdq:
    """A calibrated model that can be written with some of its nodes in int8; see `_contract.Prepared`.

    Attributes:
        float_model: Prepared by `_graph.prepared`.
        nodes: Those that can be quantized.
        in_float: Those that stay in float whatever is asked for.
        cpu: What it is written for.
        ranges: Of activations, as ONNX Runtime's calibrators give them.
        decisions: What was chosen on the way.
        shifts: Node -> what is subtracted from its bias where it is quantized.
        per_channel: A scale for each output channel of weights.
        float_between: Whether layers round what they read alone and give float on.
    """

    float_model: Path
    nodes: tuple[str, ...]
    in_float: tuple[str, ...]
    cpu: Cpu
    ranges: Any
    decisions: tuple[Decision, ...] = ()
    shifts: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    per_channel: bool = True
    float_between: bool = False

    def write(self, destination: Path, *, keep_float: Collection[str] = ()) -> None:
        """Write the QDQ model."""
        model = onnx.load(self.float_model)
        _move_biases(model, self.shifts, keep_float=keep_float)
        _graph.unshare(model, in_float={*keep_float, *self.in_float})
        operators = sorted(LAYERS if self.float_between else OPERATORS)
        with _graph.kept_quiet():
            quantizer = QDQQuantizer(
                model,
                self.per_channel,
                self.cpu.reduce_range,
                _TYPES[self.cpu.weights],
                _TYPES[self.cpu.activations],
                copy.deepcopy(self.ranges),  # which are adjusted in place to what is written
                [],
                [*keep_float, *self.in_float],
                operators,
                {
                    "WeightSymmetric": True,
                    "ActivationSymmetric": self.cpu.activations == "int8",
                    "OpTypesToExcludeOutputQuantization": operators if self.float_between else [],
                    "QDQKeepRemovableActivations": _clips_beyond_zero(model),
                },
            )
            quantizer.quantize_model()
        _graph.save(quantizer.model.model, destination, source=self.float_model)


def unsound(float_model: Path, *, per_channel: bool) -> tuple[str, ...]:
    """Nodes that ONNX Runtime's quantizer would write wrongly, or not at all.

    A softmax gets the range 0 to 1 whatever it gave in calibration: over a thousand places its answers are all rounded to
    nothing. The biases of a transposed convolution in groups would get as many scales as one group has channels.
    """
    found = []
    for node in onnx.load(float_model).graph.node:
        groups = next((each.i for each in node.attribute if each.name == "group"), 1)
        in_groups = node.op_type == "ConvTranspose" and groups > 1 and len(node.input) > 2
        if node.op_type == "Softmax" or (in_groups and per_channel):
            found.append(node.name)
    return tuple(found)


def _clips_beyond_zero(model: Any) -> bool:
    """Whether some Clip has a range without 0, which a quantized tensor always holds: its range cannot stand for that."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Clip":
            low, high = (
                float(numpy_helper.to_array(stored[name])) if name in stored else 0.0
                for name in (*node.input[1:], "", "")[:2]
            )
            if low > 0 or high < 0:
                return True
    return False


def _move_biases(model: Any, shifts: Mapping[str, NDArray[np.float32]], *, keep_float: Collection[str]) -> None:
    """Subtract the shifts from the biases of the nodes that are quantized, in place."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.name in shifts and node.name not in keep_float:
            bias = tensors[node.input[2]]
            own = f"{node.name}.corrected_bias"  # other nodes may share the tensor
            moved = numpy_helper.to_array(bias) - shifts[node.name]
            model.graph.initializer.append(numpy_helper.from_array(moved.astype(np.float32), own))
            node.input[2] = own

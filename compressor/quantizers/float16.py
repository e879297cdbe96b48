"""Half precision: half the file, and the arithmetic of GPUs; CPUs without float16 units compute it in float32."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from compressor.artifact import Decision
from compressor.quantizers import _graph
from compressor.quantizers._contract import Calibration, Cpu, Prepared


class Float16:
    """Weights and arithmetic in float16, inputs and outputs as before: half the file, made for GPUs.

    There is no bfloat16 beside it: no CPU could check the file (decision 026).
    """

    needs_calibration = False

    def prepare(self, source: Path, *, calibration: Calibration, cpu: Cpu, scratch: Path) -> Prepared:
        """See `_contract.PostTraining`."""
        file = _graph.prepared(source, scratch)
        return _Float16(file, tuple(node.name for node in onnx.load(file).graph.node), ())


@dataclass(frozen=True)
class _Float16:
    """See `_contract.Prepared`."""

    float_model: Path
    nodes: tuple[str, ...]
    decisions: tuple[Decision, ...]

    def write(self, destination: Path, *, keep_float: Collection[str] = ()) -> None:
        """Write the model; what is left in float is converted at its edges."""
        if set(keep_float) >= set(self.nodes):
            _graph.save(onnx.load(self.float_model), destination, source=self.float_model)
            return
        with _graph.kept_quiet():
            model = convert_float_to_float16(
                onnx.load(self.float_model), keep_io_types=True, node_block_list=list(keep_float)
            )
        _graph.save(model, destination, source=self.float_model)

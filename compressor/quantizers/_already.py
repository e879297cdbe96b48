"""Whether an ONNX file has fewer bits already: rounding what is rounded costs accuracy again, and gains nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from compressor.errors import ModelError

_WITH_FEWER_BITS = re.compile(
    r"(Dynamic)?(Quantize|Dequantize)(Linear|MatMul|LSTM)|QLinear\w+|Q(Attention|EmbedLayerNormalization|Gemm|MoE|Ordered\w+)"
    r"|ConvInteger|MatMul(Integer|IntegerToFloat|NBits|Bnb4|FpQ4)|GatherBlockQuantized"
)
_HALF = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
_HINT = "name the float model that it was made from"


def require_float(file: Path, *, hint: str | None = None) -> None:
    """Refuse a model that is quantized, or whose weights are in half precision.

    Args:
        file: ONNX.
        hint: The next thing to type, where that is known.

    Raises:
        ModelError: It is, or no ONNX.
    """
    try:
        model = onnx.load(str(file), load_external_data=False)
    except DecodeError as fault:
        raise ModelError("cannot be read as ONNX", where=str(file), hint="is it damaged? export it again") from fault
    graphs = list(_graphs(model.graph))
    nodes = [node for part in (*graphs, *model.functions) for node in part.node]
    found = sorted({node.op_type for node in nodes if _WITH_FEWER_BITS.fullmatch(node.op_type)})
    if not found:
        stored = {tensor.data_type for graph in graphs for tensor in graph.initializer if len(tensor.dims) > 1}
        found = [f"weights in {TensorProto.DataType.Name(kind).lower()}" for kind in sorted(stored & _HALF)]
    if found:
        raise ModelError(f"is quantized already: it holds {', '.join(found[:3])}", where=str(file), hint=hint or _HINT)


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph, and those inside its nodes: branches, and bodies of loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inside = [attribute.g] if attribute.HasField("g") else []
            for each in (*inside, *attribute.graphs):
                yield from _graphs(each)

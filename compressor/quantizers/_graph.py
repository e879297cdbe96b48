"""A float ONNX model made ready to be quantized: BatchNorm folded, shapes inferred, every node with a name of its own."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, version_converter
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.shape_inference import quant_pre_process

from compressor.errors import ModelError
from compressor.models import onnx_copy
from compressor.quantizers._already import require_float

_LOWEST_OPSET = 13  # the first whose QuantizeLinear has a scale for each channel
_LOWEST_IR = 4  # the first whose weights need not be inputs
_KEPT_METADATA = "compress."
_PROBABILITIES = frozenset({"Softmax", "LogSoftmax", "Sigmoid"})


def prepared(source: Path, scratch: Path) -> Path:
    """A pre-processed copy of `source` in `scratch`; its nodes have unique names and its metadata is the source's.

    Its weights are in it, and its operator set is 13 at least.

    Raises:
        ModelError: It is quantized already, no model that ONNX Runtime can optimise, or larger than one file can be.
    """
    require_float(source)
    file, whole = scratch / "float.onnx", scratch / "whole.onnx"
    original = _modern(onnx_copy.whole(source), source)
    onnx.save(original, whole)
    try:
        with kept_quiet():
            quant_pre_process(str(whole), str(file), skip_symbolic_shape=True)
    except Exception as fault:
        reason = str(fault).strip().split("\n")[0]
        raise ModelError(f"cannot be prepared for quantization: {reason}", where=str(source)) from fault
    model = onnx.load(file)
    _fold_factors(model)
    seen: set[str] = set()
    for position, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{position}"
        seen.add(node.name)
    del model.opset_import[:]
    model.opset_import.extend(original.opset_import)
    copy_metadata(original, model)
    onnx.save(model, file)
    return file


def _fold_factors(model: Any) -> None:
    """Multiply the factors of a Gemm into its stored weight and bias, in place: what quantizes it does not read them."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for position, node in enumerate(model.graph.node):
        if node.op_type != "Gemm":
            continue
        for name, place in (("alpha", 1), ("beta", 2)):
            factor = next((each for each in node.attribute if each.name == name), None)
            if factor is None or factor.f == 1.0 or len(node.input) <= place or node.input[place] not in stored:
                continue
            tensor = stored[node.input[place]]
            own = f"{tensor.name}.times_{name}_{position}"  # other nodes may share the tensor
            scaled = numpy_helper.to_array(tensor) * np.float32(factor.f)
            model.graph.initializer.append(numpy_helper.from_array(scaled, own))
            node.input[place] = own
            factor.f = 1.0


def _modern(model: Any, source: Path) -> Any:
    """The model in an operator set that holds all that quantization writes, its weights no inputs.

    Raises:
        ModelError: It cannot be converted.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    for listed in [given for given in model.graph.input if given.name in stored]:  # as models of before 2019 do
        model.graph.input.remove(listed)
    model.ir_version = max(model.ir_version, _LOWEST_IR)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), _LOWEST_OPSET)
    if opset >= _LOWEST_OPSET:
        return model
    try:
        with kept_quiet():
            converted = version_converter.convert_version(model, _LOWEST_OPSET)
            onnx.checker.check_model(converted, full_check=True)
    except Exception as fault:
        reason = str(fault).strip().split("\n")[0]
        raise ModelError(
            f"opset {opset} cannot be quantized, nor converted to {_LOWEST_OPSET}: {reason}",
            where=str(source),
            hint=f"export it again with opset {_LOWEST_OPSET} or later",
        ) from fault
    copy_metadata(model, converted)
    return converted


def copy_metadata(source: Any, model: Any) -> None:
    """Give a model what its source says about classes, inputs and provenance, and nothing else."""
    kept = {entry.key: entry.value for entry in source.metadata_props if entry.key.startswith(_KEPT_METADATA)}
    del model.metadata_props[:]
    for key, value in kept.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def save(model: Any, destination: Path, *, source: Path) -> None:
    """Check a quantized model and write it, with the metadata of its source.

    Raises:
        ModelError: It is not a valid model.
    """
    copy_metadata(onnx.load(source, load_external_data=False), model)
    with kept_quiet():
        ONNXModel(model).topological_sort()  # in place; what was inserted stands at the end until then
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as fault:
        raise ModelError(f"the quantized model is not valid: {fault}", where=str(source)) from fault
    onnx.save(model, destination)


def nodes_of(file: Path, op_types: frozenset[str]) -> tuple[str, ...]:
    """Names of the nodes of some kinds, in the order they run."""
    return tuple(node.name for node in onnx.load(file).graph.node if node.op_type in op_types)


def weighted_nodes(file: Path, op_types: frozenset[str]) -> tuple[str, ...]:
    """The same, of nodes one of whose inputs is stored in the model: two activations multiplied are something else.

    Nor is a stack of matrices, one for each head: its scales would lie along another axis than that of its channels.
    """
    graph = onnx.load(file).graph
    axes = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    return tuple(
        node.name
        for node in graph.node
        if node.op_type in op_types
        and any(name in axes and (node.op_type != "MatMul" or axes[name] == 2) for name in node.input[1:])
    )


def unshare(model: Any, *, in_float: Collection[str]) -> None:
    """Give layers that share a stored tensor copies of it, in place, where what quantizes it would take them for alike.

    It is quantized once, along the channels of whoever comes first: another layer may have its channels along another axis,
    and one that stays in float would be fused into int8 with the scales of the other.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    copies: dict[str, dict[tuple[object, ...], str]] = {}  # tensor -> how it is read -> what it is called there
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name not in stored:
                continue
            way = _way_to_read(node, place, in_float=node.name in in_float)
            known = copies.setdefault(name, {})
            if way not in known:
                known[way] = f"{name}.of_{node.name}" if known else name
                if known[way] != name:
                    own = numpy_helper.from_array(numpy_helper.to_array(stored[name]), known[way])
                    model.graph.initializer.append(own)
            node.input[place] = known[way]


def _way_to_read(node: Any, place: int, *, in_float: bool) -> tuple[object, ...]:
    """What readers of a tensor that may share it have in common: the axis of its channels, whether they are quantized."""
    if in_float:
        return ("float",)
    turned = next((each.i for each in node.attribute if each.name == "transB"), 0)
    axis = {"Conv": 0, "ConvTranspose": 1, "MatMul": 1, "Gemm": 0 if turned else 1}.get(node.op_type)
    return (node.op_type if axis is None else "layer", place, axis if place == 1 else 0)


def probabilities_at_the_end(file: Path, heavy: frozenset[str]) -> tuple[str, ...]:
    """Nodes from a softmax or sigmoid on, where nothing of `heavy` kinds comes after it: a model's answers as probabilities.

    In 8 bits there is none between 0 and 1/255, so what is small becomes nothing and its logarithm infinite.
    """
    nodes = onnx.load(file).graph.node
    reading: dict[str, list[Any]] = {}
    for node in nodes:
        for tensor in node.input:
            reading.setdefault(tensor, []).append(node)
    readers = [[later for tensor in node.output for later in reading.get(tensor, ())] for node in nodes]
    tail: dict[str, bool] = {}  # node name -> whether nothing heavy comes after it; from the last node to the first
    for node, after in reversed(list(zip(nodes, readers, strict=True))):
        tail[node.name] = all(tail[each.name] and each.op_type not in heavy for each in after)
    found: set[str] = set()
    for node, after in zip(nodes, readers, strict=True):
        if node.name in found or (node.op_type in _PROBABILITIES and tail[node.name]):
            found |= {node.name, *(each.name for each in after)}
    return tuple(node.name for node in nodes if node.name in found)


@contextmanager
def kept_quiet() -> Iterator[None]:
    """ONNX Runtime's quantization tools print and log."""
    level = logging.root.level
    logging.disable(logging.WARNING)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
        logging.root.setLevel(level)

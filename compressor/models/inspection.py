"""What a model is made of: parameters, multiply-accumulates, modules worth tapping, and the facts of an ONNX file.

Torch is imported only where a network is run, so that an ONNX file or an artifact can be looked at without it.
MACs are those of convolutions, matrix products and attention, for one sample; additions, normalisations and
activations are left out, as papers do.

Not covered: how long anything takes (`measure/clock.py`).
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compressor import external_data
from compressor.artifact import Artifact
from compressor.errors import ArtifactError, ModelError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto
    from torch import Tensor, nn

    from compressor.tensors import Inputs

# A module with more than this share of a network's parameters is a shell around it rather than a block of it.
_SHELL_SHARE = 0.8
_MOST_ANCESTORS = 1000  # a source counts as often as it is named, and a chain has a few dozen

# Position of the second factor among the inputs of an operator that multiplies and accumulates.
_WEIGHT_INPUT: Mapping[str, int] = {
    "Conv": 1,
    "ConvInteger": 1,
    "QLinearConv": 3,
    "Gemm": 1,
    "MatMul": 1,
    "MatMulInteger": 1,
    "QLinearMatMul": 3,
    "ConvTranspose": 1,
}
# Inputs of quantized operators that say how others are read (scales, zero points), by position.
_SCALES: Mapping[str, tuple[int, ...]] = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "MatMulNBits": (2, 3, 4),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "QLinearAdd": (1, 2, 4, 5, 6, 7),
    "QLinearMul": (1, 2, 4, 5, 6, 7),
    "QLinearGlobalAveragePool": (1, 2, 3, 4),
    "QLinearAveragePool": (1, 2, 3, 4),
    "QLinearLeakyRelu": (1, 2, 3, 4),
    "QLinearSigmoid": (1, 2, 3, 4),
    "QLinearSoftmax": (1, 2, 3, 4),
}
# Operators with products that are not counted: of a model that has one nothing is told rather than too little.
_NOT_COUNTED = frozenset({"LSTM", "GRU", "RNN", "Einsum", "Attention", "MultiHeadAttention", "GroupQueryAttention"})


@dataclass(frozen=True)
class TapPoint:
    """A module whose output a loss may read.

    Attributes:
        path: Dotted path from the network, as `losses` take it.
        kind: Class of the module.
        shape: Shape of its output for one sample, without the batch axis.
        stage_end: The last module before the shape changes.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    stage_end: bool


@dataclass(frozen=True)
class TensorFact:
    """An input or output of an ONNX graph; a dynamic axis is its name, or "?" when it has none."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class OnnxFacts:
    """What an ONNX file says about itself.

    Attributes:
        opsets: Operator set version by domain; "ai.onnx" is the standard one.
        operators: Count by type, most frequent first, subgraphs included; foreign domains are prefixed.
        parameters: Numbers stored as initializers, in whatever type; of a quantized model the weights alone, without the
            scales and zero points that they are read by, so that it has as many as the model it was made from.
        macs: Of one sample, from shape inference; None when a shape that is needed stays unknown.
        size_bytes: The file and its external data.
    """

    ir_version: int
    opsets: Mapping[str, int]
    producer: str
    inputs: tuple[TensorFact, ...]
    outputs: tuple[TensorFact, ...]
    operators: Mapping[str, int]
    parameters: int
    macs: int | None
    size_bytes: int
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Lineage:
    """An artifact and those it was made from.

    Attributes:
        role: What the artifact was to its child ("teacher"); its own role at the root.
        path: Where it is, or was.
        artifact: None when it is no longer there.
        changed: Something else stands there by now: its key is not the one that the child recorded.
    """

    role: str
    path: Path
    artifact: Artifact | None
    changed: bool
    parents: tuple[Lineage, ...]


def count_parameters(network: nn.Module) -> int:
    """Number of parameters; one that is shared counts once, buffers do not count."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, sample: Sequence[int] | Inputs) -> int | None:
    """Multiply-accumulates for one sample; None when nothing countable ran.

    Args:
        network: What is counted.
        sample: Its shape, without the batch axis; or the sample itself, `[1, ...]`, of several inputs each by its name.

    Raises:
        ModelError: The network does not take it.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    # Fused attention is one opaque operator to the counter: that of nn.MultiheadAttention, in some releases any on a CPU.
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    # The counter follows modules by autograd, and fails where one is handed a view of a parameter (timm's PiT).
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        with counter, sdpa_kernel(SDPBackend.MATH), _without_onednn():  # so is an LSTM as oneDNN runs it
            _run_once(network, sample)
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return int(counter.get_total_flops()) // 2 or None


@contextmanager
def _without_onednn() -> Iterator[None]:
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="TF32 acceleration on top of oneDNN"
        )  # said on the way, of Intel GPUs
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def widths(whole: nn.Module, cut: nn.Module) -> list[dict[str, Any]]:
    """Outputs of each layer with weights, before and after a cut: `layer`, `kind`, `before`, `after`, in forward order.

    Args:
        whole: The network before.
        cut: A network of the same modules.
    """
    from torch import nn

    after = dict(cut.named_modules())
    found = []
    for path, module in whole.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd) and isinstance(weight, nn.Parameter):
            there = after[path].weight
            assert isinstance(there, nn.Parameter)
            found.append({"layer": path, "kind": type(module).__name__, "before": len(weight), "after": len(there)})
    return found


def tap_points(network: nn.Module, input_shape: Sequence[int], *, every: bool = False) -> list[TapPoint]:
    """Modules worth reading features from, in the order they run.

    These are the ends of stages (the last module before the shape changes) and the network's own blocks; of modules
    that hand on the very same tensor, the outermost is listed. Insides of blocks are left out.

    Args:
        network: The network to look into.
        input_shape: Shape of one sample, without the batch axis.
        every: List every module that gives a tensor instead.

    Raises:
        ModelError: The network does not take this shape.
    """
    calls = _record_calls(network, input_shape)
    if not every:
        blocks = _outermost_blocks(network)
        calls = _without_repeats([call for call in calls if not _lies_inside(call.path, blocks)])
    points = []
    for call, following in zip_longest(calls, calls[1:]):
        stage_end = following is None or following.output.shape != call.output.shape
        if every or stage_end or call.path in blocks:
            shape = tuple(call.output.shape[1:])
            points.append(TapPoint(call.path, type(call.module).__name__, shape, stage_end))
    return points


def likely_input_shape(network: nn.Module, *, side: int) -> tuple[int, ...] | None:
    """The shape of one sample that `network` was probably made for; None when its layers do not tell.

    Args:
        network: The network to look into.
        side: Height and width to suppose where the network does not state them (timm's do).
    """
    stated = (getattr(network, "pretrained_cfg", None) or {}).get("input_size")
    if stated:
        return tuple(stated)
    for parameter in network.parameters():
        if parameter.dim() == 4:  # [out, in, kernel, kernel] of a first convolution, which has no groups
            return (parameter.shape[1], side, side)
        if parameter.dim() == 2:
            return (parameter.shape[1],)
    return None


def read_onnx(path: Path) -> ModelProto:
    """An ONNX model that anyone may have written, without the weights that lie outside of it.

    Raises:
        ModelError: No such file, or it is not ONNX.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as fault:
        raise ModelError(f"cannot be read: {fault.strerror}", where=str(path)) from fault
    except (DecodeError, ValueError) as fault:
        raise ModelError("this is not an ONNX model", where=str(path)) from fault
    if not model.HasField("graph"):
        raise ModelError("this is not an ONNX model", where=str(path))
    return model


def inspect_onnx(path: Path) -> OnnxFacts:
    """Read what an ONNX file says about itself; its weights are not loaded when they lie outside of it.

    Raises:
        ModelError: No such file, or it is not ONNX.
    """
    model = read_onnx(path)
    stored = {tensor.name for tensor in model.graph.initializer}
    operators = Counter(_operator_name(node) for node in _nodes(model.graph))
    return OnnxFacts(
        ir_version=model.ir_version,
        opsets={entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        inputs=tuple(_tensor_fact(value) for value in model.graph.input if value.name not in stored),
        outputs=tuple(_tensor_fact(value) for value in model.graph.output),
        operators=dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
        parameters=_num_weights(model.graph),
        macs=_onnx_macs(model),
        size_bytes=path.stat().st_size + sum(file.stat().st_size for file in external_files(model, path.parent)),
        metadata={entry.key: entry.value for entry in model.metadata_props},
    )


def lineage(artifact: Artifact) -> Lineage:
    """The artifacts that `artifact` was made from, recursively, as its manifest and theirs record them.

    Raises:
        ArtifactError: One is named among its own sources, or there are more than any chain has.
    """
    parents = _parents(artifact, below=(artifact.path.resolve(),), left=[_MOST_ANCESTORS])
    return Lineage(artifact.manifest.role, artifact.path, artifact, changed=False, parents=parents)


def _parents(child: Artifact, *, below: tuple[Path, ...], left: list[int]) -> tuple[Lineage, ...]:
    """The sources of an artifact with theirs.

    Args:
        child: The artifact.
        below: Where it and those that were made from it lie.
        left: How many more may be named; counted down.
    """
    found = []
    for role, recorded in child.manifest.parents.items():
        parent = child.standing_for(role)
        left[0] -= 1
        if parent is not None and parent.path.resolve() in below:
            raise ArtifactError("is named among its own sources", where=str(parent.path))
        if left[0] < 0:
            raise ArtifactError(
                f"its manifest and theirs name more than {_MOST_ANCESTORS} sources", where=str(child.path)
            )
        if parent is None:
            found.append(Lineage(role, child.path / recorded["path"], None, changed=False, parents=()))
        else:
            changed = parent.manifest.key != recorded["key"]
            above = _parents(parent, below=(*below, parent.path.resolve()), left=left)
            found.append(Lineage(role, parent.path, parent, changed=changed, parents=above))
    return tuple(found)


@dataclass(frozen=True)
class _Call:
    """A module that ran, and the tensor it gave; the tensor is held so that its identity stays its own."""

    path: str
    module: nn.Module
    output: Tensor


def _record_calls(network: nn.Module, input_shape: Sequence[int]) -> list[_Call]:
    """Every module below `network` that gave one batched tensor, in the order they finished, each once.

    The insides of a TorchScript module run where no hook sees them, so they are not among these.
    """
    import torch

    calls: dict[str, _Call] = {}

    def record(path: str, module: nn.Module, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.dim() >= 2 and path not in calls:
            calls[path] = _Call(path, module, output)

    def hook(path: str) -> Any:
        return lambda module, _inputs, output: record(path, module, output)

    handles = [
        module.register_forward_hook(hook(path))
        for path, module in network.named_modules()
        if path and not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        _run_once(network, input_shape)
    finally:
        for handle in handles:
            handle.remove()
    return list(calls.values())


def _run_once(network: nn.Module, sample: Sequence[int] | Inputs) -> None:
    """One forward pass in eval mode, on zeros where only a shape is told; then all modules are in the mode they were in."""
    import torch

    by_name: Mapping[str, Tensor] = sample if isinstance(sample, Mapping) else {}
    if by_name:
        inputs, told = [], "; ".join(f"{name} {list(each.shape[1:])}" for name, each in by_name.items())
    elif isinstance(sample, torch.Tensor):
        inputs, told = [sample], _shape_text(sample.shape[1:])
    else:
        shape = tuple(int(size) for size in sample)
        first = next((parameter for parameter in network.parameters() if parameter.is_floating_point()), None)
        inputs = [torch.zeros(1, *shape) if first is None else first.new_zeros(1, *shape)]
        told = _shape_text(shape)
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad(), _forward_faults(network, told):
            network(*inputs, **by_name)
    finally:
        for module, training in modes:
            module.training = training


def _shape_text(shape: Iterable[int]) -> str:
    return ",".join(map(str, shape))


@contextmanager
def _forward_faults(network: nn.Module, shape: str) -> Iterator[None]:
    """What somebody else's forward can raise over an input of the wrong shape, as a ModelError."""
    from compressor.errors import FOREIGN_FAULTS

    try:
        yield
    except FOREIGN_FAULTS as fault:
        reason = str(fault).strip().split("\n")[0]
        raise ModelError(
            f"{type(network).__name__} does not take an input of shape {shape}: {reason}",
            hint="state it: --shape 3,32,32",
        ) from fault


def _outermost_blocks(network: nn.Module) -> frozenset[str]:
    """Paths of the modules with children and a class of their own that lie in no other such module.

    Containers (Sequential, ModuleList) are no blocks. Nor are shells, modules that hold nearly all of the parameters (a
    wrapped network, a transformer's encoder): they are opened.
    """
    shell_size = _SHELL_SHARE * count_parameters(network)
    blocks: set[str] = set()
    for path, module in network.named_modules():
        is_leaf = not any(True for _ in module.children())
        if not path or is_leaf or _is_container(module) or _lies_inside(path, blocks):
            continue
        if count_parameters(module) <= shell_size:
            blocks.add(path)
    return frozenset(blocks)


def _is_container(module: nn.Module) -> bool:
    from torch import nn

    return type(module) in (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def _lies_inside(path: str, blocks: Iterable[str]) -> bool:
    return any(path.startswith(f"{block}.") for block in blocks)


def _without_repeats(calls: list[_Call]) -> list[_Call]:
    """Of calls that gave the very same tensor (a Sequential and its last child), the last, which is the outermost."""
    last = {id(call.output): call for call in calls}
    return [call for call in calls if last[id(call.output)] is call]


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """All nodes of a graph and of the subgraphs inside them (If, Loop)."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for subgraph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _nodes(subgraph)


def _operator_name(node: NodeProto) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}:{node.op_type}"


def _tensor_fact(value: Any) -> TensorFact:
    import onnx

    tensor = value.type.tensor_type
    shape = tuple(axis.dim_value if axis.HasField("dim_value") else axis.dim_param or "?" for axis in tensor.shape.dim)
    known = tensor.elem_type in onnx.TensorProto.DataType.values()
    dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower() if known and tensor.elem_type else "?"
    return TensorFact(value.name, dtype, shape)


def external_files(model: ModelProto, folder: Path) -> set[Path]:
    """The files beside the model that hold tensors (initializers, constants, those of branches) and exist.

    Raises:
        ModelError: One of them is said to lie outside of its folder.
    """
    return {place for place in external_data.places_of(model.graph, folder, where=folder) if place.is_file()}


def _num_weights(graph: GraphProto) -> int:
    """Numbers stored in a graph, without those that only say how quantized ones are read."""
    uses, reading = Counter[str](), Counter[str]()
    packed: dict[str, int] = {}
    ranges = {node.output[1] for node in _nodes(graph) if node.op_type == "DynamicQuantizeLinear"}
    for node in _nodes(graph):
        uses.update(name for name in node.input if name)
        reading.update(node.input[at] for at in _SCALES.get(node.op_type, ()) if at < len(node.input))
        if node.op_type == "Mul" and ranges & set(node.input):  # the scale of a weight times that of an activation
            reading.update(node.input)
        if node.op_type == "MatMulNBits":  # several to a byte, in whole blocks
            sizes = {attribute.name: attribute.i for attribute in node.attribute}
            packed[node.input[1]] = sizes["K"] * sizes["N"]
    return sum(
        packed.get(tensor.name, math.prod(tensor.dims))
        for tensor in graph.initializer
        if not 0 < uses[tensor.name] <= reading[tensor.name]
    )


def _onnx_macs(model: ModelProto) -> int | None:
    """MACs of the convolutions and matrix products for one sample; changes the batch axis of `model`."""
    import onnx

    batch = 1
    for position, value in enumerate(model.graph.input):
        axis = next(iter(value.type.tensor_type.shape.dim), None)
        if axis is not None and axis.HasField("dim_param"):
            axis.dim_value = 1
        elif axis is not None and position == 0:
            batch = max(axis.dim_value, 1)
    del model.graph.value_info[:]  # they still have the dynamic batch in them
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except onnx.shape_inference.InferenceError:
        return None
    shapes: dict[str, tuple[int | str, ...]] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes |= {fact.name: fact.shape for fact in map(_tensor_fact, [*graph.input, *graph.value_info, *graph.output])}
    if any(node.op_type in _NOT_COUNTED for node in _nodes(graph)):
        return None
    counts = [_node_macs(node, shapes) for node in _nodes(graph) if node.op_type in _WEIGHT_INPUT]
    known = [count for count in counts if count is not None]
    return sum(known) // batch if known and len(known) == len(counts) else None


def _node_macs(node: NodeProto, shapes: Mapping[str, tuple[int | str, ...]]) -> int | None:
    """Output size times the length of each dot product; None when one of the two is unknown."""
    output = shapes.get(node.output[0])
    factor = shapes.get(node.input[_WEIGHT_INPUT[node.op_type]])
    if output is None or factor is None or len(factor) < 2:
        return None
    if node.op_type == "ConvTranspose":  # each input is multiplied with a kernel for each output channel
        output = shapes.get(node.input[0])
        length = factor[1:]  # [in, out / groups, *kernel]
        if output is None:
            return None
    elif "Conv" in node.op_type:
        length = factor[1:]  # [out, in / groups, *kernel]
    elif any(attribute.name == "transB" and attribute.i for attribute in node.attribute):
        length = factor[1:2]
    else:
        length = factor[-2:-1]
    sizes = (*output, *length)
    whole = [size for size in sizes if isinstance(size, int)]
    return math.prod(whole) if len(whole) == len(sizes) else None

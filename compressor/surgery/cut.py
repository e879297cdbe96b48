"""Which channels of a network can only go together, how much each set matters, and the cut itself.

Channels are followed through the network by torch-pruning's dependency graph (Fang et al. 2023, DepGraph, arXiv 2301.12900).
What it cannot follow is found by trying: a group that cannot be cut is spared with the reason, and every cut is run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.errors import ModelError
from compressor.surgery import graph as graphs
from compressor.surgery.attention import Attention, attentions, forget_heads
from compressor.surgery.criteria._contract import Criterion
from compressor.tensors import Inputs

_OVER_CHANNELS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm, nn.MultiheadAttention)
_ROOTS = (nn.modules.conv._ConvNd, nn.Linear)


@dataclass(frozen=True)
class Group:
    """Channels that can only be cut together, in units that stay whole.

    Attributes:
        name: Dotted path of its first layer, the one whose outputs are cut.
        layers: Dotted paths of every layer whose outputs go with it.
        width: Units now: channels, heads of an attention, or places in each group of a grouped convolution, in each head
            of `nn.MultiheadAttention` and in each part of a layer whose outputs are gated by one another.
        unit: Channels of a unit.
        shape: Equal for groups of equal layers at equal resolution.
        projection: Where a unit is a head of the attention at `name`: the layer that joins its heads; else empty.
    """

    name: str
    layers: tuple[str, ...]
    width: int
    unit: int
    shape: tuple[Any, ...]
    projection: str = ""

    @property
    def heads(self) -> bool:
        """Whether a unit is a head of an attention."""
        return bool(self.projection)

    def channels(self, units: NDArray[np.int64]) -> list[int]:
        """Channels of the first layer that make up `units`, sorted.

        A head is a run of channels; a unit of a grouped convolution is one channel of each of its groups, so that the
        groups stay of equal size, and so are the heads of `nn.MultiheadAttention` and the halves of a SwiGLU.
        """
        if self.heads:
            found = [int(unit) * self.unit + offset for unit in units for offset in range(self.unit)]
        else:
            found = [int(unit) + group * self.width for unit in units for group in range(self.unit)]
        return sorted(found)


class Prunable:
    """A network, seen as the groups of channels that can be cut.

    Args:
        module: In evaluation mode, on the CPU; it is never changed.
        example: `[2, ...]`, what the module takes; of several inputs each by its name.
        ignore: Dotted paths; what lies below them is not cut.

    Attributes:
        groups: What can be cut, in forward order; never the channels of the output.
        spared: Dotted path of a layer that is not cut -> why.

    Raises:
        ModelError: The network cannot be followed, or nothing in it can be cut.
    """

    def __init__(self, module: nn.Module, example: Inputs, *, ignore: Sequence[str] = ()) -> None:
        self._module = module
        self._example = example
        self.spared: dict[str, str] = {}
        known = dict(module.named_modules())
        strange = [path for path in ignore if path not in known]
        if strange:
            hint = "compress inspect --all lists every module"
            raise ModelError(f"the network has no module '{strange[0]}' to ignore", where="prune.ignore", hint=hint)
        with graphs.quiet():
            self._answer, sizes = _ran(module, example)
            self._places = _places(module, sizes)
            in_heads, in_channels, refused = _groups(module, example, sizes)
            self.spared |= refused
            found = [*in_heads, *in_channels]
            found = [group for group in found if not self._is_spared_by_name(group, ignore)]
            self.groups = tuple(self._that_can_be_cut(found))
        if not self.groups:
            why = "; ".join(f"{path}: {reason}" for path, reason in list(self.spared.items())[:3])
            raise ModelError(f"nothing in this network can be cut ({why})", where="prune")

    def score(self, criterion: Criterion) -> dict[str, NDArray[np.float64]]:
        """How much each unit of each group matters, `[width]`: the mean of the scores of its channels.

        What the criterion needs (gradients) must lie on the module's parameters.
        """
        graph = graphs.build(self._module, self._example)
        modules = dict(self._module.named_modules())
        scores = {}
        for group in self.groups:
            with graphs.quiet():
                each = criterion(_traced(graph, group, modules, group.channels(np.arange(group.width))))
            channels = each.detach().double().cpu().numpy()
            if group.heads:
                scores[group.name] = channels.reshape(group.width, group.unit).mean(axis=1)
            else:
                scores[group.name] = channels.reshape(group.unit, group.width).mean(axis=0)
        return scores

    def cut(self, keep: Mapping[str, NDArray[np.int64]]) -> nn.Module:
        """A pruned copy; of each named group the units at these positions stay, all others are as they were.

        Raises:
            ModelError: The copy does not run, or gives another shape.
        """
        by_name = {group.name: group for group in self.groups}
        return self._cut([(by_name[name], np.asarray(kept, np.int64)) for name, kept in keep.items()])

    def _cut(self, wanted: Sequence[tuple[Group, NDArray[np.int64]]]) -> nn.Module:
        pruned = graphs.copied(self._module)
        with graphs.quiet():
            graph = graphs.build(pruned, self._example, of_copy=True)
            modules = dict(pruned.named_modules())
            for group, kept in wanted:
                gone = np.setdiff1d(np.arange(group.width), kept)
                if len(gone) == group.width:
                    raise ModelError(f"all channels of '{group.name}' would go", where="prune")
                if not len(gone):
                    continue
                try:
                    _remove(graph, group, modules, gone)
                except graphs.FAULTS as fault:
                    why = f"{group.name} cannot be cut alone: {graphs.first_line(fault)}"
                    raise ModelError(why, where="prune", hint=f"leave it whole: --ignore {group.name}") from fault
        pruned.zero_grad(set_to_none=True)
        pruned.requires_grad_(True)
        self._run(pruned, names=[group.name for group, _ in wanted])
        return pruned

    def _run(self, pruned: nn.Module, *, names: Sequence[str]) -> None:
        """See that a cut network answers in the same shape as before, and that its layers see as many places.

        One that writes a width into a shape (`view(batch, 16, -1)`) may run by chance, with its channels told as places.

        Raises:
            ModelError: It does not.
        """
        try:
            with graphs.quiet():
                answer, sizes = _ran(pruned, self._example)
        except graphs.FAULTS as fault:
            raise _cannot_be_cut(", ".join(names[:3]), fault) from fault
        if _shapes(answer) != _shapes(self._answer):
            raise ModelError(f"cutting {', '.join(names[:3])} changes the output's shape", where="prune")
        found = _places(pruned, sizes)
        moved = [path for path, places in self._places.items() if found.get(path, places) != places]
        if moved:
            what = f"cutting {', '.join(names[:3])} changes how many places {moved[0]} sees"
            raise ModelError(f"{what}: a shape in its code has their width in it", where="prune")

    def _compare_with_silenced(self, pruned: nn.Module, wanted: Sequence[tuple[Group, NDArray[np.int64]]]) -> None:
        """See that channels that are gone leave the answer that channels leave which nobody listens to.

        A network that pads or shifts channels can be cut so that it still runs, with its channels out of step. Where a
        norm is taken over channels, or their number scales an attention, fewer of them give another answer by right: such
        groups cannot be compared, and are left whole here.

        Raises:
            ModelError: The answers differ, or the cut could not be followed.
        """
        silenced = graphs.copied(self._module)
        graph = graphs.build(silenced, self._example, of_copy=True)
        modules = dict(silenced.named_modules())
        comparable = []
        for group, kept in wanted:
            gone = np.setdiff1d(np.arange(group.width), kept)
            traced = _traced(graph, group, modules, group.channels(gone))
            if any(isinstance(each.dep.target.module, _OVER_CHANNELS) for each in traced):
                continue
            comparable.append((group, kept))
            for each in traced:
                if graph.is_in_channel_pruning_fn(each.dep.handler):
                    try:
                        _silence(each.dep.target.module, list(each.idxs))
                    except graphs.FAULTS as fault:
                        raise _cannot_be_cut(group.name, fault) from fault
        if len(comparable) < len(wanted):
            pruned = self._cut(comparable)
        with graphs.quiet(), torch.no_grad():
            expected, found = (
                _numbers(graphs.call(silenced, self._example)),
                _numbers(graphs.call(pruned, self._example)),
            )
        if not torch.allclose(expected, found, rtol=1e-3, atol=1e-3 * float(expected.std()) + 1e-6):
            names = ", ".join(group.name for group, _ in wanted[:3])
            raise ModelError(f"channels of {names} come out of step when some are cut", where="prune")

    def _is_spared_by_name(self, group: Group, ignore: Sequence[str]) -> bool:
        inside = [path for path in (*group.layers, group.name) if any(_lies_below(path, root) for root in ignore)]
        if inside:
            self.spared |= dict.fromkeys(group.layers, f"'{inside[0]}' is to be ignored")
        return bool(inside)

    def _that_can_be_cut(self, groups: Sequence[Group]) -> list[Group]:
        """Groups that trial cuts leave running; together first, then in halves where that fails."""
        for group in groups:
            if group.width < 2:
                why = "it has one head" if group.heads else "it is one channel wide"
                self.spared |= dict.fromkeys(group.layers, why)
        return self._tried([group for group in groups if group.width >= 2])

    def _tried(self, groups: Sequence[Group]) -> list[Group]:
        if not groups:
            return []
        wanted = [(group, _three_quarters(group)) for group in groups]
        try:
            pruned = self._cut(wanted)
            self._compare_with_silenced(pruned, wanted)
            if (
                len(groups) > 1
            ):  # two whose widths must be the same, without the graph knowing it, pass where both lose a quarter
                self._cut(
                    [
                        (group, np.arange(1 + place % max(1, group.width // 2), group.width))
                        for place, group in enumerate(groups)
                    ]
                )
        except ModelError as refusal:
            if len(groups) == 1:
                self.spared |= dict.fromkeys(groups[0].layers, _reason(refusal))
                return []
            middle = len(groups) // 2
            return [*self._tried(groups[:middle]), *self._tried(groups[middle:])]
        return list(groups)


def _groups(
    module: nn.Module, example: Inputs, sizes: Mapping[str, tuple[int, ...]]
) -> tuple[list[Group], list[Group], dict[str, str]]:
    """Groups of heads; groups of channels that the graph finds, in forward order; layers it cannot follow, and why.

    A depthwise convolution begins no group: what it is given decides its channels, a part of them each where that is
    put together of several. What is inside an attention is cut by heads.
    """
    graph = graphs.build(module, example)
    modules, names = dict(module.named_modules()), {each: name for name, each in module.named_modules()}
    known = attentions(module, graph)
    inside_attention = {modules[path] for attention in known for path in attention.layers}
    in_order = [modules[name] for name in sizes] + [each for each in modules.values() if names[each] not in sizes]
    seen: set[nn.Module] = set()
    found = []
    refused: dict[str, str] = {}
    for layer in in_order:
        if isinstance(layer, nn.RNNBase | nn.RNNCellBase):
            refused[names[layer]] = "the width of what a recurrent layer remembers is not cut"
        if not isinstance(layer, _ROOTS) or layer in seen or _is_depthwise(layer):
            continue
        if layer not in graph.module2node:
            refused[names[layer]] = "the answer has no gradient for it, so where its channels lead is not known"
            continue
        width = graph.get_out_channels(layer)
        pruner = graph.get_pruner_of_module(layer).prune_out_channels
        try:
            traced = graph.follow(layer, list(range(width)), handler=pruner)
            parts = _gated_parts(graph, layer, width)
        except graphs.FAULTS as fault:  # as of channels that lead into a GRU
            refused[names[layer]] = f"where its channels lead cannot be followed: {graphs.first_line(fault)}"
            continue
        cut = [each.dep.target.module for each in traced if graph.is_out_channel_pruning_fn(each.dep.handler)]
        seen |= set(cut)
        if inside_attention & set(cut):
            continue
        layers = tuple(dict.fromkeys(names[each] for each in cut if isinstance(each, _ROOTS) and each in names))
        unit = math.lcm(parts, *(_channel_parts(each.dep.target.module) for each in traced))
        if width % unit or (width == unit > 1):
            why = _why_together(traced, graph, parts=parts, width=width, unit=unit)
            refused |= dict.fromkeys(layers or (names[layer],), why)
        else:
            found.append(Group(names[layer], layers, width // unit, unit, _signature(traced, graph, sizes, names)))
    return [_heads_as_group(attention, modules, sizes) for attention in known], found, refused


def _why_together(traced: Any, graph: Any, *, parts: int, width: int, unit: int) -> str:
    """Why the channels of a group do not come in units of which some could go."""
    strictest = max((each.dep.target.module for each in traced), key=_channel_parts)
    needs = _channel_parts(strictest)
    whose = (
        f"the {needs} parts of {graph.name_of(strictest)}" if needs >= parts else f"{parts} parts that gate each other"
    )
    if width % unit:
        return f"its {width} channels do not divide evenly, as they would have to for {whose}"
    return f"its {width} channels can only go together: each of {whose} would have to lose one"


def _gated_parts(graph: Any, layer: nn.Module, width: int) -> int:
    """In how many parts a layer's outputs are split that only go together, as the halves of a gate do; 1 for none."""
    traced = graph.follow(layer, [0], handler=graph.get_pruner_of_module(layer).prune_out_channels)
    own = [
        each for each in traced if each.dep.target.module is layer and graph.is_out_channel_pruning_fn(each.dep.handler)
    ]
    together = sorted({int(channel) for each in own for channel in each.idxs})
    parts = len(together)
    even = [number * width // parts for number in range(parts)]
    return parts if width % parts == 0 and together == even else 1


def _heads_as_group(attention: Attention, modules: Mapping[str, Any], sizes: Mapping[str, tuple[int, ...]]) -> Group:
    first = attention.layers[0]
    return Group(
        name=attention.path,
        layers=attention.layers,
        width=attention.heads,
        unit=attention.size,
        shape=("heads", tuple(modules[first].weight.shape), sizes.get(first, ())),
        projection=attention.projection,
    )


def _three_quarters(group: Group) -> NDArray[np.int64]:
    """Units that stay in a trial: all but a quarter, spread over the group."""
    gone = np.random.default_rng(0).permutation(group.width)[: max(1, group.width // 4)]
    return np.setdiff1d(np.arange(group.width), gone).astype(np.int64)


def _silence(layer: nn.Module, channels: list[int]) -> None:
    """Make a layer deaf to some of its inputs, in place."""
    with torch.no_grad():
        if isinstance(layer, nn.RNNBase):
            for direction in ("", "_reverse") if layer.bidirectional else ("",):
                getattr(layer, f"weight_ih_l0{direction}")[:, channels] = 0
        if not isinstance(layer, _ROOTS):
            return
        if isinstance(layer, nn.Linear) or layer.groups == 1:
            weight = layer.weight.transpose(0, 1) if not getattr(layer, "transposed", False) else layer.weight
            weight[channels] = 0
            return
        inputs, outputs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
        for channel in channels:
            part, place = divmod(channel, inputs)
            layer.weight[part * outputs : (part + 1) * outputs, place] = 0


def _numbers(answer: Any) -> Tensor:
    """All numbers of an answer, in a row."""
    if isinstance(answer, Tensor):
        return answer.flatten().float()
    values = answer.values() if isinstance(answer, Mapping) else answer if isinstance(answer, list | tuple) else ()
    return torch.cat([torch.zeros(0), *(_numbers(value) for value in values)])


def _remove(graph: Any, group: Group, modules: Mapping[str, nn.Module], gone: NDArray[np.int64]) -> None:
    channels = group.channels(gone)
    if group.heads:
        _remove_heads(group, modules, channels, heads=len(gone))
        return
    graph.remove(_traced(graph, group, modules, channels))


def _remove_heads(group: Group, modules: Mapping[str, Any], channels: list[int], *, heads: int) -> None:
    """Cut whole heads: their rows of queries, keys and values, their columns of the projection, and their number."""
    joined = modules[group.projection]
    inner = joined.in_features
    for path in group.layers:
        parts = modules[path].out_features // inner
        rows = [part * inner + channel for part in range(parts) for channel in channels]
        tp.prune_linear_out_channels(modules[path], rows)
    tp.prune_linear_in_channels(joined, channels)
    forget_heads(modules[group.name], gone=heads, size=group.unit)


def _traced(graph: Any, group: Group, modules: Mapping[str, nn.Module], channels: list[int]) -> Any:
    """What goes with these channels of a group's first layer, as torch-pruning sees it."""
    first = modules[group.name]
    if group.heads:
        joined = modules[group.projection]
        return graph.follow(joined, channels, handler=tp.prune_linear_in_channels)
    return graph.follow(first, channels, handler=graph.get_pruner_of_module(first).prune_out_channels)


def _channel_parts(module: nn.Module) -> int:
    """In how many parts of equal size a layer's channels must stay."""
    if isinstance(module, nn.modules.conv._ConvNd):
        return 1 if _is_depthwise(module) else module.groups
    if isinstance(module, nn.MultiheadAttention):
        return int(module.num_heads)
    return module.num_groups if isinstance(module, nn.GroupNorm) else 1


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.modules.conv._ConvNd) and layer.groups == layer.out_channels > 1


def _signature(
    traced: Any, graph: Any, sizes: Mapping[str, tuple[int, ...]], names: Mapping[nn.Module, str]
) -> tuple[Any, ...]:
    parts = []
    for each in traced:
        module = each.dep.target.module
        if isinstance(module, _ROOTS):
            side = "out" if graph.is_out_channel_pruning_fn(each.dep.handler) else "in"
            parts.append(
                (type(module).__name__, side, tuple(module.weight.shape), sizes.get(names.get(module, ""), ()))
            )
    return tuple(sorted(parts))


def _ran(module: nn.Module, example: Inputs) -> tuple[Any, dict[str, tuple[int, ...]]]:
    """What a network answers, and the shape that each layer gives, without the batch, in forward order."""
    found: dict[str, tuple[int, ...]] = {}

    def recorder(name: str) -> Any:
        def record(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                found.setdefault(name, tuple(output.shape[1:]))

        return record

    hooks = [each.register_forward_hook(recorder(name)) for name, each in module.named_modules() if name]
    try:
        with graphs.left_as_it_was(module), torch.no_grad():
            answer = graphs.call(module, example)
    finally:
        for hook in hooks:
            hook.remove()
    return answer, found


def _places(module: nn.Module, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The places that each layer gives channels for: heights and widths of maps, tokens."""
    known = dict(module.named_modules())
    found = {}
    for path, size in sizes.items():
        if isinstance(known[path], nn.modules.conv._ConvNd):
            found[path] = size[1:]
        elif isinstance(known[path], nn.Linear | nn.LayerNorm):
            found[path] = size[:-1]
    return found


def _shapes(answer: Any) -> Any:
    if isinstance(answer, Tensor):
        return tuple(answer.shape)
    if isinstance(answer, Mapping):
        return {name: _shapes(value) for name, value in answer.items()}
    return [_shapes(value) for value in answer] if isinstance(answer, list | tuple) else None


def _cannot_be_cut(names: str, fault: BaseException) -> ModelError:
    return ModelError(
        f"the network does not run when {names} is cut: {graphs.first_line(fault)}",
        where="prune",
        hint=f"leave it whole: --ignore {names.split(',')[0]}",
    )


def _reason(refusal: ModelError) -> str:
    if "changes the output" in refusal.message or graphs.THE_ANSWER in refusal.message:
        return "its channels are the outputs of the network"
    return refusal.message


def _lies_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}.")

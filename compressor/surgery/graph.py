"""Which channels follow from which: torch-pruning's dependency graph, made to go on past what it cannot follow.

torch-pruning gives up on the whole network where one operation confuses it. Here that operation is remembered with the
reason, so that only the layers whose channels pass it are left whole, and a walk that would never end is stopped. Channels
that are shuffled between groups are followed. For all else the graph and its walks are torch-pruning's own, in its order.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning import _helpers, ops
from torch_pruning.dependency import index_mapping, shape_infer
from torch_pruning.dependency.dependency import Dependency
from torch_pruning.dependency.group import Group
from torch_pruning.pruner import function

from compressor.errors import FOREIGN_FAULTS, ModelError
from compressor.tensors import Inputs

# Tracing and cutting meet whatever a network does; an assertion is how torch-pruning refuses.
FAULTS = (*FOREIGN_FAULTS, StopIteration)
_STEPS_FOR_AN_EDGE = 64  # the walks of DenseNet-121, the most tangled network at hand, take less than 8
_TIMES_THE_WIDEST = 4
THE_ANSWER = "the answer of the network"
_OWN_NAMES = frozenset(vars(nn.Module()))


class Graph(tp.DependencyGraph):  # type: ignore[misc]
    """The dependency graph of one network.

    Attributes:
        lost: Nodes that channels cannot be followed through -> why.
    """

    def __init__(self) -> None:
        super().__init__()
        self.module2node: dict[Any, Any] = {}
        self.lost: dict[Any, str] = {}

    def follow(self, module: nn.Module, channels: Sequence[int], *, handler: Callable[..., Any]) -> Any:
        """What goes with these channels of a layer, as torch-pruning sees it.

        Raises:
            ValueError: They pass something that cannot be followed.
        """
        traced = self.get_pruning_group(module, handler, channels)
        for each in traced:
            if each.dep.target in self.lost:
                raise ValueError(self.lost[each.dep.target])
        return traced

    def remove(self, traced: Any) -> None:
        """Cut what goes together.

        Raises:
            ValueError: Nothing would be left of a layer.
        """
        for each in traced:
            read = self.is_in_channel_pruning_fn(each.dep.handler)
            sides = [self.get_in_channels] if read else []
            sides += [self.get_out_channels] if self.is_out_channel_pruning_fn(each.dep.handler) else []
            module = each.dep.target.module
            widths = [side(module) for side in sides]
            if any(width is not None and width <= len(each.idxs) for width in widths):
                raise ValueError(f"nothing would be left of {self.name_of(module)}")
        traced.prune()

    def get_pruning_group(self, module: nn.Module, pruning_fn: Callable[..., Any], idxs: Sequence[int]) -> Any:
        """torch-pruning's own walk, step for step, with an end.

        Raises:
            ValueError: The walk runs in circles.
        """
        if isinstance(module, ops.TORCH_CONV) and module.groups == module.out_channels and module.out_channels > 1:
            pruning_fn = function.prune_depthwise_conv_out_channels
        index_mapping.update_index_mapping(self)
        root = self.module2node[module]
        first = Dependency(pruning_fn, pruning_fn, source=root, target=root)
        found = [(first, [_helpers._HybridIndex(idx=index, root_idx=index) for index in idxs])]
        stack, visited = list(found), set()
        seen = {(root, pruning_fn, tuple(found[0][1]))}
        steps_left = _STEPS_FOR_AN_EDGE * sum(len(node.dependencies) for node in self.module2node.values())
        most = _TIMES_THE_WIDEST * self._widest
        while stack:
            came_by, channels = stack.pop()
            visited.add(came_by.target)
            for dep in came_by.target.dependencies:
                if not dep.is_triggered_by(came_by.handler):
                    continue
                there = _mapped(dep, channels)
                step = (dep.target, dep.handler, tuple(there))
                if not there or (dep.target in visited and step in seen):
                    continue
                steps_left -= 1
                if steps_left < 0 or len(there) > most:
                    raise ValueError("they come back to themselves in other places without end")
                seen.add(step)
                found.append((dep, there))
                stack.append((dep, there))
        return self._merged(found)

    def _merged(self, found: Sequence[tuple[Any, list[Any]]]) -> Any:
        """One entry for each node and side, its channels in the order in which they were met first."""
        merged: dict[tuple[Any, Any], tuple[Any, list[Any]]] = {}
        for dep, channels in found:
            known = merged.get((dep.target, dep.handler))
            if known is None:
                merged[dep.target, dep.handler] = (dep, list(channels))
                continue
            by_place: dict[int, Any] = {}
            for channel in (*known[1], *channels):
                by_place.setdefault(channel.idx, channel)
            merged[dep.target, dep.handler] = (known[0], list(by_place.values()))
        group = Group()
        group._DG = self
        for dep, channels in merged.values():
            group.add_dep(dep, [channel.idx for channel in channels])
            group[len(group) - 1].root_idxs = [channel.root_idx for channel in channels]
        return group

    def _build_dependency(self, module2node: Mapping[Any, Any]) -> None:
        super()._build_dependency(module2node)
        while True:
            try:
                shape_infer.init_shape_information(self)
                index_mapping.update_index_mapping(self)
                return
            except FAULTS:
                if not self._lose_what_fails():
                    raise

    def _lose_what_fails(self) -> bool:
        """Treat each operation whose channels torch-pruning cannot map as one that maps none; whether there were any."""
        whole, before = self.module2node, len(self.lost)
        for module, node in whole.items():
            self.module2node = {module: node}
            try:
                shape_infer.init_shape_information(self)
                index_mapping.update_index_mapping(self)
            except FAULTS:
                self.lost[node] = f"they are lost in {_kind_of(node)}"
                node.type = ops.OPTYPE.ELEMENTWISE
            finally:
                self.module2node = whole
        return len(self.lost) > before

    @cached_property
    def _widest(self) -> int:
        """The most channels that a layer has, before anything is cut."""
        sides = (self.get_in_channels, self.get_out_channels)
        return max(1, *(side(module) or 0 for module in self.module2node for side in sides))

    def name_of(self, module: Any) -> str:
        """Dotted path of a layer or parameter."""
        return str(self._param_to_name.get(module) or self._module2name.get(module) or THE_ANSWER)


def build(module: nn.Module, example: Inputs, *, of_copy: bool = False) -> Graph:
    """The graph of a module; it is traced by autograd, so every parameter must want gradients meanwhile.

    Raises:
        ModelError: It cannot be traced.
    """
    wanted = [parameter.requires_grad for parameter in module.parameters()]
    module.requires_grad_(True)
    try:
        with quiet(), left_as_it_was(module), torch.enable_grad():
            graph = Graph()
            graph.build_dependency(
                module, example_inputs=example, forward_fn=call, output_transform=_followed, verbose=False
            )
            return graph
    except FAULTS as fault:
        raise ModelError(
            f"its channels cannot be followed: {first_line(fault)}",
            where="prune",
            hint="is its forward plain PyTorch?",
        ) from fault
    finally:
        if not of_copy:
            for parameter, flag in zip(module.parameters(), wanted, strict=True):
                parameter.requires_grad_(flag)


def copied(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode, without what the network keeps until it is trained again.

    Of a tensor that was computed from others, as a normed weight is, it holds the values.

    Raises:
        ModelError: It cannot be copied.
    """
    values = {id(tensor): tensor.detach().clone() for tensor in _computed(module)}
    try:
        copied = copy.deepcopy(module, values)
    except FAULTS as fault:
        raise ModelError(f"the network cannot be copied: {first_line(fault)}", where="prune") from fault
    return copied.train().eval()


@contextmanager
def left_as_it_was(module: nn.Module) -> Iterator[None]:
    """Forget what a network put beside its parameters and buffers meanwhile, as timm's LeViT does with attention biases.

    And the hooks that it gave itself: transformers hangs some on a network once, and would do so again after the mark of
    that is forgotten.
    """
    before = [
        (each, {name: _shallow(value) for name, value in _own(each)}, set(each._forward_hooks))
        for each in module.modules()
    ]
    try:
        yield
    finally:
        for each, kept, hooks in before:
            for hook in [hook for hook in each._forward_hooks if hook not in hooks]:
                del each._forward_hooks[hook]
            for name, _ in list(_own(each)):
                del vars(each)[name]
            vars(each).update(kept)


@contextmanager
def quiet() -> Iterator[None]:
    """torch-pruning warns of parameters outside of layers and the like, which it then handles."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def first_line(fault: BaseException) -> str:
    """What a fault says, short."""
    return (str(fault).strip() or type(fault).__name__).split("\n")[0]


def _mapped(dep: Any, channels: list[Any]) -> list[Any]:
    """The places of channels on the other side.

    Raises:
        ValueError: Nobody knows them.
    """
    try:
        for mapping in dep.index_mapping:
            if mapping is not None:
                channels = mapping(channels)
    except (ArithmeticError, LookupError) as fault:
        raise ValueError(f"they are lost in {_kind_of(dep.target)} after {_kind_of(dep.source)}") from fault
    return channels


def call(module: nn.Module, example: Inputs) -> Any:
    """What a module answers; several inputs go to it by name."""
    return module(example) if isinstance(example, Tensor) else module(**example)


def _followed(answer: Any) -> list[Tensor]:
    """The tensors of an answer that depend on channels; others, as None, have no channels to follow.

    A number for each sample, or one for all, is seen as one channel wide.
    """
    if isinstance(answer, Tensor):
        return [] if answer.grad_fn is None else [answer if answer.dim() > 1 else answer.reshape(-1, 1)]
    values = answer.values() if isinstance(answer, Mapping) else answer if isinstance(answer, list | tuple) else ()
    return [tensor for value in values for tensor in _followed(value)]


def _own(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """What a module keeps beside what every module has."""
    return ((name, value) for name, value in vars(module).items() if name not in _OWN_NAMES)


def _shallow(value: Any) -> Any:
    return copy.copy(value) if type(value) in (dict, list, set) else value


def _computed(module: nn.Module) -> Iterator[Tensor]:
    """Tensors that were computed with a history, which Python cannot copy."""
    for each in module.modules():
        for _, value in _own(each):
            inside = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            )
            yield from (tensor for tensor in inside if isinstance(tensor, Tensor) and not tensor.is_leaf)


def _kind_of(node: Any) -> str:
    sizes = getattr(node.grad_fn, "_saved_self_sym_sizes", ())
    return f"a {node.type.name.lower()}" + (
        f" of {'×'.join(str(size) for size in sizes[1:])}" if len(sizes) > 1 else ""
    )

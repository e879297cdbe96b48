"""What a cut changed, as plain data: enough to turn a freshly built network into the pruned one without cutting again.

A network is rebuilt by its builder at full width; the record then sets the numbers that its modules keep about themselves
(`out_channels`, `num_heads`, ...) and the shapes of its tensors, and the weights are filled in from safetensors. Nothing
is traced and nothing depends on the order of the cuts: the record of several cuts is that of the first, updated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from compressor.errors import ArtifactError

Number = int | float | bool | tuple[int, ...]


@dataclass(frozen=True)
class Surgery:
    """How a pruned network differs from the one its builder builds.

    Attributes:
        numbers: Module path -> attribute -> its value in the pruned network.
        shapes: Parameter or buffer path -> its shape in the pruned network.
    """

    numbers: Mapping[str, Mapping[str, Number]] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def between(cls, whole: nn.Module, pruned: nn.Module) -> Surgery:
        """What to change in `whole`, a network of the same modules, to make it `pruned`.

        Raises:
            ArtifactError: They are not made of the same modules and tensors.
        """
        before, after = dict(whole.named_modules()), dict(pruned.named_modules())
        tensors, cut = dict(_tensors(whole)), dict(_tensors(pruned))
        strange = (before.keys() ^ after.keys()) | (tensors.keys() ^ cut.keys())
        if strange:
            raise ArtifactError(f"'{min(strange)}' is in one of the networks alone, so the cut cannot be recorded")
        numbers = {}
        for path, module in after.items():
            was = dict(_numbers(before[path]))
            changed = {name: value for name, value in _numbers(module) if was.get(name) != value}
            if changed:
                numbers[path] = changed
        shapes = {
            path: tuple(tensor.shape)
            for path, tensor in cut.items()
            if tuple(tensor.shape) != tuple(tensors[path].shape)
        }
        return cls(numbers, shapes)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Surgery:
        """The record that `as_json` gave.

        Raises:
            ArtifactError: It is not one of ours.
        """
        try:
            numbers = {
                path: {name: _number(value) for name, value in changed.items()}
                for path, changed in raw["numbers"].items()
            }
            shapes = {path: tuple(int(size) for size in shape) for path, shape in raw["shapes"].items()}
        except (AttributeError, KeyError, TypeError, ValueError) as fault:
            raise ArtifactError(f"the record of surgery is damaged: {fault}") from fault
        return cls(numbers, shapes)

    def as_json(self) -> dict[str, Any]:
        """Plain data for `surgery.json`."""
        numbers = {
            path: {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}
            for path, changed in self.numbers.items()
        }
        return {"numbers": numbers, "shapes": {path: list(shape) for path, shape in self.shapes.items()}}

    def then(self, later: Surgery) -> Surgery:
        """The record of this cut followed by another one."""
        numbers = {path: dict(changed) for path, changed in self.numbers.items()}
        for path, changed in later.numbers.items():
            numbers[path] = {**numbers.get(path, {}), **changed}
        return Surgery(numbers, {**self.shapes, **later.shapes})

    def apply(self, network: nn.Module) -> None:
        """Give a freshly built network the shape of the pruned one, in place; its cut tensors hold zeros afterwards.

        Raises:
            ArtifactError: The network has no such module or tensor: its builder builds another one now.
        """
        modules = dict(network.named_modules())
        for path, changed in self.numbers.items():
            for name, value in changed.items():
                if path not in modules or name not in vars(modules[path]):
                    raise ArtifactError(f"the network has no '{path}.{name}', which the record of surgery changes")
                setattr(modules[path], name, value)
        for path, shape in self.shapes.items():
            owner, _, name = path.rpartition(".")
            kept = getattr(modules.get(owner), name, None)
            if not isinstance(kept, torch.Tensor):
                raise ArtifactError(f"the network has no '{path}', which the record of surgery cuts")
            if isinstance(kept, nn.Parameter):
                setattr(modules[owner], name, nn.Parameter(kept.new_zeros(shape), requires_grad=kept.requires_grad))
            else:
                setattr(modules[owner], name, kept.new_zeros(shape))


def _number(value: object) -> Number:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list):
        return tuple(int(each) for each in value)
    raise TypeError(f"{value!r} is not a number")


def _numbers(module: nn.Module) -> Iterator[tuple[str, Number]]:
    """The public numbers that a module keeps about itself."""
    for name, value in vars(module).items():
        if name.startswith("_") or name == "training":
            continue
        if isinstance(value, bool | int | float):
            yield name, value
        elif isinstance(value, tuple | list | torch.Size) and all(isinstance(each, int) for each in value):
            yield name, tuple(value)


def _tensors(network: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from network.named_parameters(remove_duplicate=False)
    yield from network.named_buffers(remove_duplicate=False)

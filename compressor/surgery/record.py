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
        blocks: Path of a list of blocks -> positions of those that are left; numbers and shapes are of what is left.
    """

    numbers: Mapping[str, Mapping[str, Number]] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    blocks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

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
            blocks = {path: tuple(int(each) for each in kept) for path, kept in raw.get("blocks", {}).items()}
        except (AttributeError, KeyError, TypeError, ValueError) as fault:
            raise ArtifactError(f"the record of surgery is damaged: {fault}") from fault
        return cls(numbers, shapes, blocks)

    def as_json(self) -> dict[str, Any]:
        """Plain data for `surgery.json`."""
        numbers = {
            path: {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}
            for path, changed in self.numbers.items()
        }
        blocks = {path: list(kept) for path, kept in self.blocks.items()}
        shapes = {path: list(shape) for path, shape in self.shapes.items()}
        return {"numbers": numbers, "shapes": shapes, **({"blocks": blocks} if blocks else {})}

    def then(self, later: Surgery) -> Surgery:
        """The record of this cut followed by another one."""
        numbers = {
            left: dict(changed)
            for path, changed in self.numbers.items()
            if (left := _after(path, later.blocks)) is not None
        }
        for path, changed in later.numbers.items():
            numbers[path] = {**numbers.get(path, {}), **changed}
        shapes = {
            left: shape for path, shape in self.shapes.items() if (left := _after(path, later.blocks)) is not None
        }
        blocks = dict(self.blocks)
        for path, kept in later.blocks.items():
            blocks[path] = tuple(blocks[path][each] for each in kept) if path in blocks else kept
        return Surgery(numbers, {**shapes, **later.shapes}, blocks)

    def apply(self, network: nn.Module) -> None:
        """Give a freshly built network the shape of the pruned one, in place; its cut tensors hold zeros afterwards.

        Raises:
            ArtifactError: The network has no such module or tensor: its builder builds another one now.
        """
        for path, left in self.blocks.items():
            _leave(network, path, left)
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


def _leave(network: nn.Module, path: str, kept: tuple[int, ...]) -> None:
    """Take the other blocks out of a list, in place, and out of the number that a configuration keeps of them."""
    whole = dict(network.named_modules()).get(path)
    if not isinstance(whole, nn.ModuleList | nn.Sequential) or not all(0 <= each < len(whole) for each in kept):
        raise ArtifactError(f"the network has no list of blocks '{path}' that the record of surgery shortens")
    blocks = [whole[each] for each in kept]
    number = len(whole)
    for position in reversed(range(number)):
        del whole[position]
    for block in blocks:
        whole.append(block)
    config = getattr(network, "config", None)
    if getattr(config, "num_hidden_layers", None) == number:
        setattr(config, "num_hidden_layers", len(kept))  # noqa: B010 (of a library's object that is not typed)


def _after(path: str, blocks: Mapping[str, tuple[int, ...]]) -> str | None:
    """What a path is called once lists of blocks are shortened; None for one in a block that goes."""
    for each, kept in blocks.items():
        if path.startswith(f"{each}."):
            number, _, rest = path[len(each) + 1 :].partition(".")
            if not number.isdecimal() or int(number) not in kept:
                return None
            return f"{each}.{kept.index(int(number))}{'.' if rest else ''}{rest}"
    return path


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

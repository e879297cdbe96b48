"""A smaller network out of a larger one: some of its blocks with their weights, all else as it is.

For text this beats a small network that starts from nothing (Sanh et al. 2019, DistilBERT, arXiv 1910.01108, take every
second layer of BERT). The blocks lie in one list of the module (`bert.encoder.layer`, `blocks`), and blocks of one list take
and give the same.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from compressor import registry
from compressor.errors import ModelError
from compressor.models.build import Loaded
from compressor.models.network import Network
from compressor.surgery.record import Surgery

_OPTIONS = ("layers", "keep", "blocks")


def cut(loaded: Loaded, options: Mapping[str, Any], *, where: str) -> Loaded:
    """The network with fewer blocks, and the record that makes it so again.

    Args:
        loaded: The whole one; it stays as it is.
        options: `layers`, how many blocks are kept, evenly spaced, the first and the last among them; or `keep`, which
            ones; and `blocks`, the path of their list where there are several.
        where: What the user wrote, for the error text.

    Raises:
        ModelError: An option is wrong, the network has no list of blocks, or is not one network with a builder.
    """
    unknown = [name for name in options if name not in _OPTIONS]
    if unknown:
        hint = registry.nearest(unknown[0], list(_OPTIONS), "it takes")
        raise ModelError(f"a cut has no option '{unknown[0]}'", where=where, hint=hint)
    if loaded.builder.form in ("file", "combined"):
        raise ModelError(
            "a network that is not built by code cannot be cut",
            where=where,
            hint="name a teacher that is built by file.py:callable, transformers:, timm: or torchvision:",
        )
    path, blocks = _list_of_blocks(loaded.network.module, options.get("blocks"), where=where)
    kept = _kept(len(blocks), options, where=where)
    made = Surgery(blocks={path: kept})
    module = copy.deepcopy(loaded.network.module)
    made.apply(module)
    surgery = made if loaded.surgery is None else loaded.surgery.then(made)
    told = (
        f"layers {', '.join(map(str, kept))} of 0 to {len(blocks) - 1} ({path}) with their weights, all else as it is"
    )
    return replace(
        loaded,
        network=Network(module, loaded.network.normalisation).eval(),
        title=f"{loaded.title}-{len(kept)}-layers",
        origin=where,
        surgery=surgery,
        steps=(told,),
    )


def evenly_spaced(number: int, count: int) -> tuple[int, ...]:
    """Positions of `count` out of `number` layers, the first and the last among them; of one, the first."""
    return tuple(int(each) for each in torch.linspace(0, number - 1, count, dtype=torch.float64).round())


def _kept(number: int, options: Mapping[str, Any], *, where: str) -> tuple[int, ...]:
    stated, layers = options.get("keep"), options.get("layers")
    if (stated is None) == (layers is None):
        hint = f"--set student.options.layers={max(1, number // 2)}; it has {number}"
        raise ModelError("a cut needs either layers or keep", where=where, hint=hint)
    if stated is None:
        if not isinstance(layers, int) or isinstance(layers, bool) or not 1 <= layers <= number:
            raise ModelError(f"layers is {layers!r}", where=where, hint=f"write 1 to {number}, as many as it has")
        return evenly_spaced(number, layers)
    whole = isinstance(stated, Sequence) and all(isinstance(each, int) and 0 <= each < number for each in stated)
    if not whole or not stated or list(stated) != sorted(set(stated)):
        hint = f"write positions from 0 to {number - 1} in order, each once: keep = [0, {number - 1}]"
        raise ModelError(f"keep is {stated!r}", where=where, hint=hint)
    return tuple(stated)


def _list_of_blocks(module: nn.Module, stated: object, *, where: str) -> tuple[str, nn.ModuleList | nn.Sequential]:
    found = {
        path: child
        for path, child in module.named_modules()
        if isinstance(child, nn.ModuleList | nn.Sequential) and _alike(list(child))
    }
    outer = {path: child for path, child in found.items() if not any(path.startswith(f"{each}.") for each in found)}
    if stated is not None:
        if stated not in found:
            hint = registry.nearest(str(stated), list(found), "lists of blocks are")
            raise ModelError(f"'{stated}' is not a list of blocks of one kind", where=where, hint=hint)
        return str(stated), found[str(stated)]
    if len(outer) != 1:
        told = f"several lists of blocks: {', '.join(outer)}" if outer else "no list of blocks of one kind"
        hint = "--set student.options.blocks=PATH names one" if outer else "name a student of its own: file.py:callable"
        raise ModelError(f"the network has {told}", where=where, hint=hint)
    return next(iter(outer.items()))


def _alike(children: Sequence[nn.Module]) -> bool:
    """Whether there are several of one kind and size, each made of layers."""
    if len(children) < 2 or not any(True for _ in children[0].children()):
        return False
    kinds = {type(child) for child in children}
    sizes = {tuple((name, tuple(p.shape)) for name, p in child.named_parameters()) for child in children}
    return len(kinds) == 1 and len(sizes) == 1

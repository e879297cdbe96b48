"""Attentions, by the layers that make their queries, keys and values and the one that joins their heads again.

In timm one layer (`qkv`) makes all three; in BERT, BART, DistilBERT and SegFormer each has its own. What joins the heads is
`proj` in timm; elsewhere it may lie outside of the attention, and is where the channels of the values lead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from compressor.surgery import graph as graphs

APART = (("query", "key", "value"), ("q_proj", "k_proj", "v_proj"), ("q_lin", "k_lin", "v_lin"))
"""What the layers are called that make queries, keys and values apart: BERT's, BART's, DistilBERT's."""
COUNTS = ("num_heads", "num_attention_heads", "n_heads")
"""What an attention calls the number of its heads."""
_SIZES = ("head_dim", "attention_head_size", "dim_per_head")
_WIDTHS = ("attn_dim", "inner_dim", "all_head_dim", "all_head_size", "embed_dim", "dim")


@dataclass(frozen=True)
class Attention:
    """One attention over heads of one size.

    Attributes:
        path: Of the module that says how many heads there are.
        layers: Paths of the layers that make queries, keys and values; one that makes all three, side by side.
        projection: Path of the layer that takes the heads side by side.
        heads: How many.
        size: Channels of a head.
    """

    path: str
    layers: tuple[str, ...]
    projection: str
    heads: int
    size: int


def made_apart(module: nn.Module) -> tuple[nn.Linear, nn.Linear, nn.Linear] | None:
    """The three layers of a module that make queries, keys and values of one width; None where it has none."""
    for names in APART:
        query, key, value = (getattr(module, name, None) for name in names)
        if isinstance(query, nn.Linear) and isinstance(key, nn.Linear) and isinstance(value, nn.Linear):
            return (query, key, value) if query.out_features == key.out_features == value.out_features else None
    return None


def attentions(module: nn.Module, graph: Any) -> list[Attention]:
    """The attentions of a network of which heads can be cut, in the order of its modules.

    Args:
        module: The network.
        graph: Of it, which tells where channels lead.
    """
    names = {each: path for path, each in module.named_modules()}
    found = []
    for path, each in module.named_modules():
        one = _side_by_side(path, each) or _apart(path, each, graph, names)
        if one is not None:
            found.append(one)
    return found


def forget_heads(attention: nn.Module, *, gone: int, size: int) -> None:
    """Bring the numbers that an attention keeps about itself in step with `gone` heads less of `size` channels each."""
    heads = _heads_of(attention)
    if heads is None:
        return  # it goes by shapes, as in view(..., -1, size)
    for name, value in list(vars(attention).items()):
        if name in COUNTS and value == heads:
            setattr(attention, name, heads - gone)
        elif name in _WIDTHS and value == heads * size:
            setattr(attention, name, (heads - gone) * size)


def _side_by_side(path: str, module: Any) -> Attention | None:
    layer, joined = getattr(module, "qkv", None), getattr(module, "proj", None)
    heads = getattr(module, "num_heads", None)
    if not (isinstance(layer, nn.Linear) and isinstance(joined, nn.Linear) and isinstance(heads, int)):
        return None
    if layer.out_features != 3 * joined.in_features or joined.in_features % heads:
        return None
    below = f"{path}." if path else ""
    return Attention(path, (f"{below}qkv",), f"{below}proj", heads, joined.in_features // heads)


def _apart(path: str, module: nn.Module, graph: Any, names: Mapping[nn.Module, str]) -> Attention | None:
    """One whose three layers lead to one other layer, and to nothing else that has channels."""
    layers = made_apart(module)
    if layers is None or any(layer not in graph.module2node for layer in layers):
        return None
    width = layers[2].out_features
    size = next((value for name in _SIZES if isinstance(value := getattr(module, name, None), int)), 0)
    heads = _heads_of(module) or (width // size if size else 0)
    if not heads or width % heads:
        return None
    handler = graph.get_pruner_of_module(layers[2]).prune_out_channels
    try:
        traced = graph.follow(layers[2], list(range(width)), handler=handler)
    except graphs.FAULTS:
        return None
    made: set[nn.Module] = set()
    taken: set[nn.Module] = set()
    for each in traced:
        target = each.dep.target.module
        if target in names:
            (taken if graph.is_in_channel_pruning_fn(each.dep.handler) else made).add(target)
    joined = next(iter(taken)) if len(taken) == 1 else None
    if made != set(layers) or not isinstance(joined, nn.Linear) or joined.in_features != width:
        return None
    return Attention(path, tuple(names[layer] for layer in layers), names[joined], heads, width // heads)


def _heads_of(module: nn.Module) -> int | None:
    """How many heads a module says that it has; None where it does not say."""
    return next((value for name in COUNTS if isinstance(value := getattr(module, name, None), int)), None)

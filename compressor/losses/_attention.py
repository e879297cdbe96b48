"""What losses on attention share: the layers that give Q, K and V side by side, and who is paired with whom.

Attention itself is fused in today's networks and shows no map, so maps are calculated again from the output of the linear
layer that makes Q, K and V: timm's `attn.qkv`, whose width is 3 × heads × numbers in a head. Where a network normalises or
rotates Q and K afterwards, that is not in them. `torch.nn.MultiheadAttention` has no such layer, and BERT has three of
them; `models.taps` gives what one would give. Padded tokens of texts (`attention_mask`) take no part.
Not covered: attention between two sequences, and windowed attention, whose rows are windows rather than samples.

Shape letters: B batch, L tokens, D width, h heads, d numbers in a head.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from compressor.errors import ModelError
from compressor.losses._contract import Context
from compressor.losses._features import FeatureLoss, Pair, Shapes

_NAMES = frozenset({"qkv", "to_qkv", "Wqkv"})
_HINT = (
    "these losses read what gives Q, K and V side by side: timm's blocks.N.attn.qkv, "
    "self_attn.qkv of a torch.nn.MultiheadAttention that attends to its own input, attention.self.qkv of a BERT"
)


class AttentionLoss(FeatureLoss):
    """Compares attention layers; pairs are of modules that give `[B, L, 3 × D]`: Q, K and V side by side.

    Attributes:
        heads: Attention heads of the student's and of the teacher's layer, for each pair.
    """

    def __init__(self, pairs: str | Sequence[Sequence[str]], *, scale: float = 1.0) -> None:
        super().__init__(pairs, scale=scale)
        self.heads: tuple[tuple[int, int], ...] = ()
        self._known: tuple[Mapping[str, int], Mapping[str, int]] = ({}, {})

    def prepare(self, context: Context) -> None:
        """Learn how many heads each layer has, which shapes do not tell."""
        self._known = (context.student_heads, context.teacher_heads)

    def choose(self, student: Shapes, teacher: Shapes) -> tuple[tuple[Pair, ...], str]:
        """Pairs of attention layers, and why these.

        Raises:
            ModelError: One of the two has none.
        """
        found = [_layers(shapes, heads) for shapes, heads in zip((student, teacher), self._known, strict=True)]
        for layers, who in zip(found, ("student", "teacher"), strict=True):
            if not layers:
                raise ModelError(f"no attention layer of the {who} can be read", where="pairs", hint=_HINT)
        return self.match(*found)

    def match(self, student: Sequence[str], teacher: Sequence[str]) -> tuple[tuple[Pair, ...], str]:
        """Who is paired with whom, and why; layers from the first to the last."""
        raise NotImplementedError

    def settle(self, student: Shapes, teacher: Shapes) -> str:
        """Decide which layers are compared; see `FeatureLoss.settle`.

        Raises:
            ModelError: A layer does not give Q, K and V, or the two look at different numbers of tokens.
        """
        told = super().settle(student, teacher)
        for mine, theirs in self.pairs:
            for path, shapes in ((mine, student), (theirs, teacher)):
                if len(shapes[path]) != 3 or shapes[path][2] % 3:
                    shown = "×".join(map(str, shapes[path][1:]))
                    raise ModelError(f"'{path}' gives {shown}, which is no Q, K and V", where="pairs", hint=_HINT)
            if student[mine][1] != teacher[theirs][1]:
                raise ModelError(
                    f"the student attends among {student[mine][1]} tokens, the teacher among {teacher[theirs][1]}",
                    where="pairs",
                    hint="give the student the teacher's patch size and the same input size",
                )
        own, others = self._known
        self.heads = tuple((_heads(mine, own), _heads(theirs, others)) for mine, theirs in self.pairs)
        return told


def mean_over(values: Tensor, weight: Tensor) -> Tensor:
    """The mean of values where `weight` (0 or 1, as many axes, broadcast) says that they count."""
    counted = weight.expand_as(values)
    return (values * counted).sum() / counted.sum().clamp(min=1)


def split(qkv_BLD: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Q, K and V, each `[B, h, L, d]`."""
    batch, tokens, width = qkv_BLD.shape
    parts = qkv_BLD.reshape(batch, tokens, 3, heads, width // 3 // heads).permute(2, 0, 3, 1, 4)
    return parts[0], parts[1], parts[2]


def products(one_BhLd: Tensor, other_BhLd: Tensor) -> Tensor:
    """Scaled dot products of tokens with one another, `[B, h, L, L]`."""
    scores: Tensor = one_BhLd @ other_BhLd.transpose(-2, -1) / one_BhLd.shape[-1] ** 0.5
    return scores


def block_of(path: str) -> str | None:
    """The numbered module around a layer: `blocks.3` of `blocks.3.attn.qkv`."""
    found = re.match(r"(.*[._]\d+|\d+)\.", path)
    return found.group(1) if found else None


def _layers(shapes: Shapes, heads: Mapping[str, int]) -> list[str]:
    """Modules that make Q, K and V for attention over all tokens of a sample (there were two), in order."""
    return [
        path
        for path, shape in shapes.items()
        if path.rpartition(".")[2] in _NAMES
        and len(shape) == 3
        and shape[0] == 2
        and (count := heads.get(path.rpartition(".")[0], 0)) > 0
        and shape[2] % (3 * count) == 0
    ]


def _heads(path: str, known: Mapping[str, int]) -> int:
    return known.get(path.rpartition(".")[0], 1)

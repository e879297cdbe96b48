"""Self-attention relations of transformers: MiniLMv2, Wang et al. 2021 (arXiv 2012.15828), section 3.1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from compressor.errors import InputError, ModelError
from compressor.losses._attention import AttentionLoss, mean_over, products
from compressor.losses._features import Pair

_NOWHERE = -1e4  # its share is 0 in float32, and the difference of two of them no NaN
_LEAST_WIDTH = 8  # numbers in a relation head that `auto` leaves at least: the paper's 48 heads of its width 384


class MiniLM(AttentionLoss):
    """How tokens relate to one another in the last block is to be as in the teacher's (MiniLMv2, Wang et al. 2021).

        scale · Σ over Q, K, V of the mean over relation heads and tokens of KL(R_t ‖ R_s)

    R = softmax(X · Xᵀ / √d) relates queries with queries, keys with keys and values with values; X is all of Q (K, V) cut
    into relation heads anew, so that neither the numbers of heads nor the widths need be the same, and nothing is
    projected. `auto` compares the last blocks, as the authors do for teachers of base size; for large ones they take a
    block below the last (their section 4.4): state it. Both sides must see the same number of tokens.

    Reads timm's `blocks.N.attn.qkv`; of a `torch.nn.MultiheadAttention`, `<its path>.qkv`; of a BERT, `attention.self.qkv`.

    Args:
        pairs: auto, or a list of [student module, teacher module] that give Q, K and V side by side
        scale: the loss times this
        relation_heads: of both; 0: as many as divide both widths and leave 8 numbers in each (48 at most, as theirs)

    Raises:
        InputError: relation_heads is negative.
    """

    needs = ("features",)
    most_pairs = 1

    def __init__(
        self, *, pairs: str | Sequence[Sequence[str]] = "auto", scale: float = 1.0, relation_heads: int = 0
    ) -> None:
        super().__init__(pairs, scale=scale)
        if relation_heads < 0:
            raise InputError(f"relation_heads = {relation_heads} must not be negative", where="minilm.relation_heads")
        self._relation_heads = relation_heads
        self.counts: tuple[int, ...] = ()

    def match(self, student: Sequence[str], teacher: Sequence[str]) -> tuple[tuple[Pair, ...], str]:
        """The last layers."""
        return ((student[-1], teacher[-1]),), "the last attention layers"

    def build(self, shapes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
        """Count the relation heads.

        Raises:
            ModelError: The stated number does not divide both widths.
        """
        self.counts = tuple(self._count(mine[-1] // 3, theirs[-1] // 3) for mine, theirs in shapes)

    def compare(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """The sum above for one pair of layers, a scalar."""
        total = student.new_zeros(())
        for mine, theirs in zip(student.chunk(3, dim=-1), teacher.chunk(3, dim=-1), strict=True):
            logs, targets = (_relations(each, self.counts[index]) for each in (mine, theirs))
            each_BhL = F.kl_div(logs, targets, reduction="none", log_target=True).sum(dim=-1)
            total = total + each_BhL.mean()
        return total

    def compare_tokens(self, index: int, student: Tensor, teacher: Tensor, *, there_BL: Tensor) -> Tensor:
        """The sum above over the tokens that are there: none relates to padding, and padding relates to none."""
        total = student.new_zeros(())
        rows_B1L = there_BL[:, None].to(student.dtype)
        for mine, theirs in zip(student.chunk(3, dim=-1), teacher.chunk(3, dim=-1), strict=True):
            logs, targets = (_relations(each, self.counts[index], there_BL) for each in (mine, theirs))
            each_BhL = (targets.exp() * (targets - logs)).sum(dim=-1)
            total = total + mean_over(each_BhL, rows_B1L)
        return total

    def _count(self, mine: int, theirs: int) -> int:
        if self._relation_heads:
            if mine % self._relation_heads or theirs % self._relation_heads:
                raise ModelError(
                    f"{self._relation_heads} relation heads do not divide the widths {mine} and {theirs}",
                    where="minilm.relation_heads",
                    hint="leave it out: auto finds a number that does",
                )
            return self._relation_heads
        most = max(1, min(48, mine // _LEAST_WIDTH, theirs // _LEAST_WIDTH))
        return next(count for count in range(most, 0, -1) if mine % count == 0 == theirs % count)


def _relations(rows_BLD: Tensor, heads: int, there_BL: Tensor | None = None) -> Tensor:
    """Log-probabilities with which each token relates to each that is there, `[B, h, L, L]`."""
    parts_BhLd = rows_BLD.reshape(*rows_BLD.shape[:2], heads, -1).transpose(1, 2)
    scores = products(parts_BhLd, parts_BhLd)
    if there_BL is not None:
        scores = scores.masked_fill(~there_BL[:, None, None], _NOWHERE)
    return torch.log_softmax(scores, dim=-1)

"""Attention maps and hidden states of transformers: TinyBERT, Jiao et al. 2020 (arXiv 1909.10351), equations 7 and 8."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from compressor.losses._attention import AttentionLoss, block_of, mean_over, products, split
from compressor.losses._features import Pair, Shapes, projector, tokens_there
from compressor.losses._logits import require
from compressor.tensors import Batch, Outputs


class AttentionMaps(AttentionLoss):
    """Each block attends, and represents tokens, as a block of the teacher does (TinyBERT, Jiao et al. 2020).

        scale · mean over pairs of [ MSE(A_s, A_t) + hidden · MSE(projector(H_s), H_t) ]

    A = Q · Kᵀ / √d is the attention matrix before the softmax, which the authors found to converge faster than after it
    (equation 7, mean over heads); where the numbers of heads differ, it is the mean over heads that is compared. H is what
    the block gives, through a learned projector (equation 8). The embedding layer of their equation 9 is left out, since
    pictures have no vocabulary. `auto` takes every block of the student: block m of M learns from block m · N / M of N, the
    paper's uniform mapping. Both sides must see the same number of tokens.

    Reads timm's `blocks.N.attn.qkv` and calculates the maps from it; of a `torch.nn.MultiheadAttention`, `<its path>.qkv`;
    of a BERT, `attention.self.qkv`.

    Args:
        pairs: auto, or a list of [student module, teacher module] that give Q, K and V side by side
        scale: the loss times this
        hidden: weight of the hidden states; 0 leaves them out

    Raises:
        InputError: hidden is negative.
    """

    needs = ("features",)
    most_pairs = 1000

    def __init__(
        self, *, pairs: str | Sequence[Sequence[str]] = "auto", scale: float = 1.0, hidden: float = 1.0
    ) -> None:
        super().__init__(pairs, scale=scale)
        require("attention_maps", at_least_zero={"hidden": hidden})
        self.hidden = hidden
        self.states: tuple[Pair | None, ...] = ()
        self.projectors = nn.ModuleDict()

    @property
    def reads(self) -> tuple[Pair, ...]:
        """The attention layers, and the blocks around them."""
        return (*self.pairs, *(states for states in self.states if states is not None))

    def match(self, student: Sequence[str], teacher: Sequence[str]) -> tuple[tuple[Pair, ...], str]:
        """Every layer of the student, with those of the teacher spread evenly up to the last."""
        count, of = len(student), len(teacher)
        chosen = [-(-(index + 1) * of // count) - 1 for index in range(count)]  # rounded up, so the last meets the last
        pairs = tuple((mine, teacher[index]) for mine, index in zip(student, chosen, strict=True))
        return pairs, f"every attention layer of the student, with the teacher's {of} spread evenly over its {count}"

    def settle(self, student: Shapes, teacher: Shapes) -> str:
        """Decide which layers are compared, and make a projector for each block around one."""
        told = super().settle(student, teacher)
        self.states = tuple(self._states(pair, student, teacher) for pair in self.pairs)
        self.projectors = nn.ModuleDict(
            {
                str(index): projector(student[states[0]], teacher[states[1]])
                for index, states in enumerate(self.states)
                if states is not None
            }
        )
        return f"{told}, with the hidden states of {len(self.projectors)} blocks"

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """The loss above; gradients flow to the student and to the projectors."""
        total = super().forward(student, teacher, batch)
        for index, states in enumerate(self.states):
            if states is not None and self.hidden:
                mine, theirs = student.features[states[0]].float(), teacher.features[states[1]].float().detach()
                there_BL = tokens_there(batch)
                squares = F.mse_loss(self.projectors[str(index)](mine), theirs, reduction="none")
                distance = squares.mean() if there_BL is None else mean_over(squares, there_BL[..., None].to(squares))
                total = total + self.scale * self.hidden * distance / len(self.pairs)
        return total

    def compare(self, index: int, student: Tensor, teacher: Tensor) -> Tensor:
        """Equation 7 for one pair of layers, a scalar."""
        of_student, of_teacher = self.heads[index]
        mine, theirs = _scores(student, of_student), _scores(teacher, of_teacher)
        if of_student != of_teacher:
            mine, theirs = mine.mean(dim=1), theirs.mean(dim=1)
        return F.mse_loss(mine, theirs)

    def compare_tokens(self, index: int, student: Tensor, teacher: Tensor, *, there_BL: Tensor) -> Tensor:
        """Equation 7 over pairs of tokens that are both there."""
        of_student, of_teacher = self.heads[index]
        mine, theirs = _scores(student, of_student), _scores(teacher, of_teacher)
        if of_student != of_teacher:
            mine, theirs = mine.mean(dim=1, keepdim=True), theirs.mean(dim=1, keepdim=True)
        both_B1LL = (there_BL[:, None, :, None] & there_BL[:, None, None, :]).to(mine.dtype)
        return mean_over((mine - theirs) ** 2, both_B1LL)

    def _states(self, pair: Pair, student: Shapes, teacher: Shapes) -> Pair | None:
        """The blocks around a pair of layers, where both give tokens."""
        mine, theirs = block_of(pair[0]), block_of(pair[1])
        if mine is None or theirs is None:
            return None
        fits = len(student.get(mine, ())) == len(teacher.get(theirs, ())) == 3
        return (mine, theirs) if fits else None


def _scores(qkv_BLD: Tensor, heads: int) -> Tensor:
    query, key, _ = split(qkv_BLD, heads)
    return products(query, key)

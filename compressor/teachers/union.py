"""Teachers of different classes made one: Vongkulbhaisal et al. 2019 (arXiv 1904.06062), Shen et al. 2019 (1811.02796)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from compressor.errors import InputError
from compressor.models.combined import Combined
from compressor.teachers._frozen import Frozen

_ROUNDS = 60
_FLOOR = 1e-12


class Union(Frozen):
    """Networks that know different classes, as one that knows all: A knows dogs and cats, B bananas and apples.

    Classes meet by name. Each network i says p_i over its own classes L_i; the one answer q over all classes is the one
    under which these are likeliest, each q renormalised to L_i (the cross-entropy of Vongkulbhaisal et al. 2019,
    equation 6, found by their fixed point for classes that are shared). That leaves open how much of q belongs to each
    group of networks which share no class; `by` decides: `energy` as their logits say, log Σ exp(z) (concatenated
    logits, as Shen et al. 2019 amalgamate them); `confidence` by how sure each is, 1 − H(p_i) / log |L_i|; `even` all
    alike.

    Args:
        networks: two or more
        known: for each, the names of the classes that it knows, in the order of its outputs
        classes: names of the classes of the data; each must be known by some network
        by: energy, confidence or even

    Raises:
        InputError: A class that no network knows, or one that the data does not have.
    """

    needs = ("one_class",)
    gives = ("features",)

    def __init__(
        self,
        networks: Sequence[nn.Module],
        known: Sequence[Sequence[str]],
        classes: Sequence[str],
        *,
        by: Literal["energy", "confidence", "even"] = "energy",
    ) -> None:
        if by not in ("energy", "confidence", "even"):
            raise InputError(f"by = '{by}' is not known", where="union.by", hint="write energy, confidence or even")
        nobody = [name for name in classes if not any(name in knows for knows in known)]
        if nobody:
            raise InputError(f"no teacher knows '{nobody[0]}'", where="teacher.members", hint="add one that does")
        strange = [name for knows in known for name in knows if name not in classes]
        if strange:
            hint = "the names of teachers' classes and of the data's must be the same"
            raise InputError(f"the data has no class '{strange[0]}'", where="teacher.members", hint=hint)
        places = [[list(classes).index(name) for name in knows] for knows in known]
        super().__init__(Combined(networks, _Merge(places, len(classes), by=by)))


class _Merge(nn.Module):
    """Logits of each over its own classes → log-probabilities over all."""

    def __init__(self, places: Sequence[Sequence[int]], num_classes: int, *, by: str) -> None:
        super().__init__()
        self.by = by
        self.places = [list(each) for each in places]
        self.num_classes = num_classes
        self.share_classes = len({place for each in places for place in each}) < sum(map(len, places))

    def forward(self, answers: Sequence[Tensor]) -> Tensor:
        answers = [answer.float() for answer in answers]
        shares_MB = torch.stack([self._log_weight(answer) for answer in answers]).softmax(dim=0)
        spread = [self._over_all(answer.softmax(dim=1), number) for number, answer in enumerate(answers)]
        q_BK = (shares_MB[:, :, None] * torch.stack(spread)).sum(dim=0)
        if self.share_classes:
            q_BK = self._agreed(q_BK, spread)
        return q_BK.clamp_min(_FLOOR).log()

    def _log_weight(self, answer: Tensor) -> Tensor:
        """Log of how much of the whole answer a network has a say in, by sample `[B]`."""
        if self.by == "energy":
            return answer.logsumexp(dim=1)
        if self.by == "even":
            return torch.zeros_like(answer[:, 0])
        log_p = answer.log_softmax(dim=1)
        surety_B = 1 + (log_p.exp() * log_p).sum(dim=1) / math.log(max(2, answer.shape[1]))
        return surety_B.clamp_min(_FLOOR).log()

    def _over_all(self, p: Tensor, number: int) -> Tensor:
        """Probabilities of a network's own classes in the places of all."""
        index = torch.tensor(self.places[number], device=p.device)
        return p.new_zeros((p.shape[0], self.num_classes)).index_copy(1, index, p)

    def _agreed(self, q_BK: Tensor, spread: Sequence[Tensor]) -> Tensor:
        """The q under which every network's answer is likeliest (expectation-maximisation, from `q_BK` on)."""
        masks = [
            self._over_all(torch.ones_like(q_BK[:, : len(place)]), number) for number, place in enumerate(self.places)
        ]
        for _ in range(_ROUNDS):
            told = torch.zeros_like(q_BK)
            for p_BK, mask in zip(spread, masks, strict=True):
                inside_B1 = (q_BK * mask).sum(dim=1, keepdim=True).clamp_min(_FLOOR)
                told = told + p_BK + q_BK * (1 - mask) / inside_B1  # said, and what would have been said of the others
            q_BK = told / told.sum(dim=1, keepdim=True)
        return q_BK

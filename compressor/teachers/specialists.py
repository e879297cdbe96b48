"""A generalist and its specialists as one: Hinton et al. 2015 (arXiv 1503.02531), section 5, equation 5."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compressor.errors import InputError
from compressor.models.combined import Combined
from compressor.teachers._frozen import Frozen

_ROUNDS_WHERE_SHARED = 50
_FLOOR = 1e-12


class Specialists(Frozen):
    """A generalist, and specialists for the classes it confuses, as one network (Hinton et al. 2015, section 5).

    Each specialist knows the classes of one cluster and a dustbin for all others. For each sample those specialists
    have a say whose cluster holds the generalist's first class (their step 1, n = 1), and the answer is the q that
    minimises KL(p_g, q) + Σ_m KL(p_m, q) (equation 5), where q is summed over the dustbin's classes for a specialist m.
    They descend the gradient for each sample; the same minimum is reached here by expectation-maximisation, which needs
    no step size. Where no class is in two clusters, at most one specialist has a say, and the first round is at the
    minimum already: within the cluster q is the mean of both, outside it the mean mass is shared as the generalist says.

    Without `clusters` a run finds them and trains the specialists: see `[specialists]` in a recipe.

    Args:
        networks: the generalist, then the specialists
        clusters: for each specialist, the classes (by position) of its outputs; the dustbin comes last
        oversampled: for each specialist, how many times too often its classes stood in its training set; log of it is
            added to the dustbin's logit

    Raises:
        InputError: Clusters and networks do not fit together.
    """

    needs = ("one_class", "clusters")
    gives = ("features",)

    def __init__(
        self,
        networks: Sequence[nn.Module],
        *,
        clusters: tuple[tuple[int, ...], ...] = (),
        oversampled: tuple[float, ...] = (),
    ) -> None:
        if len(clusters) != len(networks) - 1:
            message = f"{len(clusters)} clusters for {len(networks) - 1} specialists"
            raise InputError(message, where="specialists.clusters", hint="one for each network after the generalist")
        if oversampled and len(oversampled) != len(clusters):
            raise InputError("one factor for each specialist is needed", where="specialists.oversampled")
        super().__init__(Combined(networks, _BestFit(clusters, oversampled or (1.0,) * len(clusters))))


class _BestFit(nn.Module):
    """The logits of each → log q, by expectation-maximisation from the generalist's answer on."""

    def __init__(self, clusters: Sequence[Sequence[int]], oversampled: Sequence[float]) -> None:
        super().__init__()
        self.clusters = [list(each) for each in clusters]
        self.shifts = [math.log(each) for each in oversampled]
        shared = len({each for cluster in self.clusters for each in cluster}) < sum(map(len, self.clusters))
        self.rounds = _ROUNDS_WHERE_SHARED if shared else 1

    def forward(self, answers: Sequence[Tensor]) -> Tensor:
        p_BK = answers[0].float().softmax(dim=1)
        first_B = p_BK.argmax(dim=1)
        told = []
        for answer, cluster, shift in zip(answers[1:], self.clusters, self.shifts, strict=True):
            index = torch.tensor(cluster, device=p_BK.device)
            inside_K = torch.zeros_like(p_BK[0]).index_fill(0, index, 1.0)
            logits = answer.float()
            p_m = torch.cat([logits[:, :-1], logits[:, -1:] + shift], dim=1).softmax(dim=1)
            in_place_BK = torch.zeros_like(p_BK).index_copy(1, index, p_m[:, :-1])
            active_B1 = inside_K[first_B][:, None]
            told.append((inside_K, in_place_BK, p_m[:, -1:], active_B1))
        q_BK = p_BK
        for _ in range(self.rounds):
            total, count = p_BK, torch.ones_like(p_BK[:, :1])
            for inside_K, in_place_BK, dustbin_B1, active_B1 in told:
                outside_BK = q_BK * (1 - inside_K)
                left_B1 = outside_BK.sum(dim=1, keepdim=True).clamp_min(_FLOOR)
                total = total + active_B1 * (in_place_BK + dustbin_B1 * outside_BK / left_B1)
                count = count + active_B1
            q_BK = total / count
        return q_BK.clamp_min(_FLOOR).log()

"""What criteria share: scores of torch-pruning's importances, as the contract wants them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor


def scores_of(importance: Callable[[Any], Any], group: tp.Group) -> Tensor | None:
    """The scores `[width]` that an importance gives a group; None when it finds no layer in it that it can judge."""
    found = importance(group)
    if not isinstance(found, Tensor) or not found.numel():
        return None
    return torch.nan_to_num(found.detach().float(), nan=0.0, posinf=0.0, neginf=0.0)


def magnitude(group: tp.Group, *, p: int) -> Tensor:
    """The p-th powers of the weights of a channel, summed in each layer, mean over the layers of the group."""
    importance = tp.importance.GroupMagnitudeImportance(p=p, group_reduction="mean", normalizer=None)
    scores = scores_of(importance, group)
    return torch.ones(len(group[0].idxs)) if scores is None else scores

"""What a loss that remembers or learns by itself does so that several processes stay one: with a single one, nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from compressor import processes


def averaged(tensor: Tensor) -> Tensor:
    """The mean over all processes, which hold equal shares of a batch; carries no gradients."""
    mean = tensor.detach()
    if processes.world_size() > 1:
        mean = mean.clone()
        torch.distributed.all_reduce(mean)
        mean /= processes.world_size()
    return mean


def gathered(rows: Tensor) -> Tensor:
    """The rows of all processes, those of the first one first; carries no gradients."""
    own = rows.detach().contiguous()
    if processes.world_size() == 1:
        return own
    all_of_them = [torch.empty_like(own) for _ in range(processes.world_size())]
    torch.distributed.all_gather(all_of_them, own)
    return torch.cat(all_of_them)

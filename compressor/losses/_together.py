"""What a loss that remembers, learns by itself or compares samples does so that several processes are as one.

With a single process nothing is done. Processes hold equal shares: row r of n processes' shares are rows r, r + n, … of
the batch, and `gathered` and `whole` give the rows in the order of the batch again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from compressor import processes
from compressor.errors import InputError
from compressor.tensors import Batch


def averaged(tensor: Tensor) -> Tensor:
    """The mean over all processes, which hold equal shares of a batch; carries no gradients."""
    mean = tensor.detach()
    if processes.world_size() > 1:
        mean = mean.clone()
        torch.distributed.all_reduce(mean)
        mean /= processes.world_size()
    return mean


def require_whole_batches(batch: Batch, *, where: str) -> None:
    """Refuse rows of which other processes have other numbers, for a loss with which all of them must keep step.

    Raises:
        InputError: There are several processes, and some samples are left out.
    """
    if processes.world_size() > 1 and not batch.shared:
        hint = "train with one process, take another loss, or give an answer for every sample"
        raise InputError(
            "the teacher has no answer for some samples, and several processes train", where=where, hint=hint
        )


def gathered(rows: Tensor) -> Tensor:
    """The rows of the whole batch; carries no gradients."""
    own = rows.detach().contiguous()
    if processes.world_size() == 1:
        return own
    all_of_them = [torch.empty_like(own) for _ in range(processes.world_size())]
    torch.distributed.all_gather(all_of_them, own)
    return torch.stack(all_of_them, dim=1).flatten(0, 1)


def whole(rows: Tensor) -> Tensor:
    """The rows of the whole batch; gradients flow to our own.

    Every process computes the same loss of the whole batch. Since the gradients of all are averaged afterwards, each
    passes on those of its own rows times the number of processes: their mean is the gradient of that one loss.
    """
    return rows if processes.world_size() == 1 else _Whole.apply(rows)


def as_long_everywhere(tokens: Tensor) -> Tensor:
    """Tokens `[B, L, D]` with zeros behind, as many as the process with the longest has; gradients flow."""
    if processes.world_size() == 1:
        return tokens
    longest = torch.tensor(tokens.shape[1], device=tokens.device)
    torch.distributed.all_reduce(longest, torch.distributed.ReduceOp.MAX)
    return torch.nn.functional.pad(tokens, (0, 0, 0, int(longest) - tokens.shape[1]))


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        return gathered(rows)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        count = processes.world_size()
        return gradient[processes.rank() :: count].contiguous() * count

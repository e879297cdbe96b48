"""Several processes training one network as if they were one; with a single process everything here does nothing.

Each process takes every n-th row of each batch. Gradients are averaged by DDP (through Fabric), sums of losses are added
up, answers for metrics are put back in order, and BatchNorm takes its statistics over the whole batch, so that the
result is that of one process up to the order of floating-point sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor import processes
from compressor.errors import InputError, ProcessLostError
from compressor.models.network import Network
from compressor.training.precision import RunConditions

_LOST = ("gloo", "nccl", "connection closed by peer", "connection reset", "broken pipe", "socket timeout")


def fabric_for(conditions: RunConditions) -> Fabric:
    """Fabric over all processes of the job, launched."""
    world, local = processes.world_size(), processes.local_world_size()
    if world == 1:
        devices: list[int] | int = [conditions.device_index] if conditions.accelerator == "cuda" else 1
        fabric = Fabric(accelerator=conditions.accelerator, devices=devices, precision=conditions.precision)
    else:
        fabric = Fabric(
            accelerator=conditions.accelerator,
            devices=local,
            num_nodes=world // local,
            strategy=DDPStrategy(),
            precision=conditions.precision,
        )
    fabric.launch()
    return fabric


def require_shares(batch_size: int, *, num_samples: int) -> None:
    """Refuse a batch that the processes cannot share evenly.

    Raises:
        InputError: With the nearest batch size that works.
    """
    world = processes.world_size()
    if batch_size % world or batch_size < 2 * world:
        raise InputError(
            f"{world} processes cannot share batches of {batch_size} evenly, with two samples each at least",
            where="batch_size",
            hint=f"write --batch-size {max(2, round(batch_size / world)) * world}",
        )
    if num_samples < batch_size and world > 1:
        raise InputError(
            f"{num_samples} training samples do not fill one batch of {batch_size}, which {world} processes share",
            where="batch_size",
            hint="train with one process",
        )


def synchronise(network: Network, *, accelerator: str) -> None:
    """Let BatchNorm take its statistics over the whole batch of all processes."""
    if processes.world_size() == 1:
        return
    if accelerator == "cuda":
        network.module = nn.SyncBatchNorm.convert_sync_batchnorm(network.module)  # type: ignore[no-untyped-call]
        return
    for module in network.modules():
        if type(module) in _SYNCHRONISED:
            module.__class__ = _SYNCHRONISED[type(module)]


def separate(network: Network) -> None:
    """Give the network the BatchNorm back that it came with."""
    plain: dict[type[nn.Module], type[nn.Module]] = {ours: theirs for theirs, ours in _SYNCHRONISED.items()}
    for module in network.modules():
        if type(module) in plain:
            module.__class__ = plain[type(module)]
        for name, child in module.named_children():
            if isinstance(child, nn.SyncBatchNorm):
                setattr(module, name, _plain(child))


def average_gradients(fabric: Fabric, parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients of parameters that DDP does not know of: those of losses."""
    if fabric.world_size > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                mean = fabric.all_reduce(parameter.grad, reduce_op="mean")
                assert isinstance(mean, Tensor)
                parameter.grad.copy_(mean)


def mean_of(fabric: Fabric, values: Mapping[str, float]) -> dict[str, float]:
    """The mean of each number over all processes, which hold equal shares."""
    if fabric.world_size == 1 or not values:
        return dict(values)
    numbers = torch.tensor(list(values.values()), dtype=torch.float64, device=_device_for(fabric))
    reduced = fabric.all_reduce(numbers, reduce_op="mean")
    assert isinstance(reduced, Tensor)
    return dict(zip(values, reduced.tolist(), strict=True))


def any_of(fabric: Fabric, flag: bool) -> bool:
    """Whether any process says so."""
    if fabric.world_size == 1:
        return flag
    said = fabric.all_reduce(torch.tensor(float(flag), device=_device_for(fabric)), reduce_op="sum")
    assert isinstance(said, Tensor)
    return bool(said.item() > 0)


def in_order(fabric: Fabric, batches: list[NDArray[Any]]) -> NDArray[Any]:
    """What all processes have for their rows of each batch, as one array in the order of the samples."""
    if fabric.world_size == 1:
        return np.concatenate(batches)
    gathered: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(gathered, batches)
    whole = []
    for shares in zip(*gathered, strict=True):
        rows = np.empty((sum(len(share) for share in shares), *shares[0].shape[1:]), shares[0].dtype)
        for rank, share in enumerate(shares):
            rows[rank :: fabric.world_size] = share
        whole.append(rows)
    return np.concatenate(whole)


def lost_process(fault: BaseException, *, state: str, resume_line: str) -> ProcessLostError | None:
    """The error for a collective operation that failed because another process is gone; None for any other fault."""
    if processes.world_size() == 1:
        return None
    text = str(fault).lower()
    if not isinstance(fault, torch.distributed.DistError) and not any(word in text for word in _LOST):
        return None
    return ProcessLostError(
        f"another of the {processes.world_size()} processes has gone (this is number {processes.rank()}); "
        f"the state of the last finished epoch is kept in {state}",
        hint=f"start the job again, it goes on from there: {resume_line}",
    )


def _plain(module: nn.SyncBatchNorm) -> nn.BatchNorm2d:
    """BatchNorm with the same tensors; that of two dimensions stands for all, which differ only in the shapes they check."""
    norm = nn.BatchNorm2d(
        module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats
    ).to(next(module.parameters()).device)
    norm.load_state_dict(module.state_dict())
    return norm


def _device_for(fabric: Fabric) -> torch.device:
    # float64 sums are not there on every accelerator, but gloo reduces on the CPU and NCCL on CUDA
    return fabric.device if fabric.device.type == "cuda" else torch.device("cpu")


class _SumOverProcesses(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs, since each one's loss follows from every share."""

    @staticmethod
    def forward(ctx: Any, share: Tensor) -> Tensor:
        total = share.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _SumOverProcesses.forward(ctx, gradient)


class _SynchronisedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over the batch of all processes on the CPU, where `nn.SyncBatchNorm` does not run.

    Mean and variance are of equal shares, so they are means of the shares' moments; the reductions carry gradients.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise with the statistics of the whole batch in training, with the running ones otherwise."""
        if not (self.training or not self.track_running_stats):
            return super().forward(input)
        values = input.float()
        axes = [axis for axis in range(values.dim()) if axis != 1]
        moments_2C = torch.stack([values.mean(axes), values.square().mean(axes)])
        world = processes.world_size()
        moments_2C = _SumOverProcesses.apply(moments_2C) / world
        mean_C, var_C = moments_2C[0], moments_2C[1] - moments_2C[0].square()
        self._remember(mean_C.detach(), var_C.detach(), count=values.numel() // values.shape[1] * world)
        shape = (1, -1) + (1,) * (values.dim() - 2)
        normalised = (values - mean_C.view(shape)) * (var_C.view(shape) + self.eps).rsqrt()
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        answer: Tensor = normalised.to(input.dtype)
        return answer

    def _remember(self, mean_C: Tensor, var_C: Tensor, *, count: int) -> None:
        if not self.track_running_stats or self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C.to(self.running_mean.dtype), share)
        self.running_var.lerp_((var_C * count / (count - 1)).to(self.running_var.dtype), share)


class _Synchronised1d(_SynchronisedBatchNorm, nn.BatchNorm1d):
    pass


class _Synchronised2d(_SynchronisedBatchNorm, nn.BatchNorm2d):
    pass


class _Synchronised3d(_SynchronisedBatchNorm, nn.BatchNorm3d):
    pass


_SYNCHRONISED: Mapping[type[nn.Module], type[_SynchronisedBatchNorm]] = {
    nn.BatchNorm1d: _Synchronised1d,
    nn.BatchNorm2d: _Synchronised2d,
    nn.BatchNorm3d: _Synchronised3d,
}

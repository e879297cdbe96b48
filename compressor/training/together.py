"""Several processes training one network as if they were one; with a single process everything here does nothing.

Each process takes every n-th row of each batch. Gradients are averaged by DDP (through Fabric), sums of losses are added
up, answers for metrics are put back in order, and BatchNorm takes its statistics over the whole batch, so that the
result is that of one process up to the order of floating-point sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.wrappers import _FabricModule
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compressor import processes
from compressor.errors import ArtifactError, InputError, ModelError, ProcessLostError
from compressor.models.network import Network
from compressor.scores import joined
from compressor.training.precision import RunConditions
from compressor.training.resume import Position

if TYPE_CHECKING:
    from compressor.scores import Findings

_LOST = ("gloo", "nccl", "connection closed by peer", "connection reset", "broken pipe", "socket timeout")


def fabric_for(conditions: RunConditions) -> Fabric:
    """Fabric over all processes of the job, launched.

    Raises:
        ProcessLostError: The processes cannot reach one another.
    """
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
    try:
        fabric.launch()
    except (OSError, RuntimeError) as fault:
        if world == 1:
            raise
        text = str(fault).strip().split("\n")[0]
        hint = "start the job again; can the machines reach one another at the address given to torchrun?"
        raise ProcessLostError(f"the {world} processes cannot reach one another: {text}", hint=hint) from fault
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


def synchronise(network: nn.Module, *, accelerator: str) -> None:
    """Let BatchNorm take its statistics over the whole batch of all processes; the modules and their tensors stay.

    Args:
        network: The user's, or what learns beside it: projectors, heads.
        accelerator: What Fabric calls the kind of device.

    Raises:
        ModelError: A BatchNorm computes in a way of its own, which cannot be spread.
    """
    if processes.world_size() == 1:
        return
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm):
            kind = type(module)
            if kind.forward is not _BatchNorm.forward and not _activates(kind):
                raise ModelError(
                    f"{name} ({kind.__name__}) takes statistics in its own way, which several processes cannot share",
                    where="training",
                    hint="build the network with nn.BatchNorm2d, or train with one process",
                )
            module.__class__ = _over_processes(kind, accelerator)


def separate(network: Network) -> None:
    """Give the network the BatchNorm back that it came with."""
    for module in network.modules():
        plain = getattr(type(module), "plain_kind", None)
        if plain is not None:
            module.__class__ = plain


def average_gradients(fabric: Fabric, parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients of parameters that DDP does not know of: those of losses."""
    if fabric.world_size > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                mean = fabric.all_reduce(parameter.grad, reduce_op="mean")
                assert isinstance(mean, Tensor)
                parameter.grad.copy_(mean)


def gradients_stay(fabric: Fabric, model: _FabricModule) -> AbstractContextManager[Any]:
    """Within it DDP sends no gradients: they are summed up here until the last part of a step sends them all."""
    return nullcontext() if fabric.world_size == 1 else fabric.no_backward_sync(model)


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


def in_order(fabric: Fabric, batches: list[Findings]) -> dict[str, NDArray[Any]]:
    """What all processes have found of their rows of each batch, column by column in the order of the samples.

    A process that has no row of a batch has nothing of it: the last may have fewer rows than there are processes.
    """
    if fabric.world_size == 1:
        return joined(batches)
    gathered: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(gathered, batches)  # once, so that each takes part whatever it has
    return joined([_interleaved(shares) for shares in zip(*gathered, strict=True)])


def _interleaved(shares: Sequence[Findings]) -> dict[str, NDArray[Any]]:
    """One batch, of which each process has every n-th row; the first has some of any."""
    whole = {}
    for name, first in shares[0].items():
        columns = [share[name] if share else first[:0] for share in shares]
        whole[name] = np.empty((sum(map(len, columns)), *first.shape[1:]), first.dtype)
        for rank, column in enumerate(columns):
            whole[name][rank :: len(shares)] = column
    return whole


def alike(fabric: Fabric, look: Callable[[], Position], folder: Path) -> Position:
    """What every process finds in a state's folder: first the main one, which may put a name right there, then the others.

    Raises:
        ArtifactError: They do not find the same step, so that they cannot go on together.
    """
    if fabric.world_size == 1:
        return look()
    if not processes.is_main():
        fabric.barrier()
    found = look()
    if processes.is_main():
        fabric.barrier()
    steps: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(steps, found.step)
    if len(set(steps)) > 1:
        raise ArtifactError(
            f"the processes find different states here: of step {', '.join(map(str, steps))}",
            where=str(folder),
            hint="all machines of the job must share this folder (--runs DIR); then start the job again",
        )
    return found


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


class _OnCPU(_BatchNorm):
    """BatchNorm over the batch of all processes on the CPU, where `nn.SyncBatchNorm` does not run.

    The shares are equal, so the mean is the mean of their means, and the variance the mean of theirs plus the variance of
    their means (Chan et al. 1979): no large numbers are subtracted. The sums over processes carry gradients.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise with the statistics of the whole batch in training, as the plain one otherwise."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        axes = [axis for axis in range(values.dim()) if axis != 1]
        own_2C = torch.stack([values.mean(axes), values.var(axes, unbiased=False)])
        world = processes.world_size()
        own_R2C = torch.stack(
            [own_2C if rank == processes.rank() else torch.zeros_like(own_2C) for rank in range(world)]
        )
        means_RC, vars_RC = _SumOverProcesses.apply(own_R2C).unbind(1)
        mean_C = means_RC.mean(0)
        var_C = vars_RC.mean(0) + (means_RC - mean_C).square().mean(0)
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


_MADE: dict[tuple[type[_BatchNorm], str], type[_BatchNorm]] = {}


def _over_processes(kind: type[_BatchNorm], accelerator: str) -> type[_BatchNorm]:
    """The kind of BatchNorm that is `kind`, with statistics over all processes.

    A module changes its class rather than being replaced, so that whatever holds it (an optimiser, a hook) still does.
    """
    if (kind, accelerator) in _MADE:
        return _MADE[kind, accelerator]
    shared: type[_BatchNorm] = nn.SyncBatchNorm if accelerator == "cuda" else _OnCPU
    members: dict[str, Any] = {"plain_kind": kind, "process_group": None}  # nn.SyncBatchNorm: no group is all processes
    if _activates(kind):

        def forward(self: Any, input: Tensor) -> Tensor:
            return self.act(self.drop(shared.forward(self, input))) if self.training else kind.forward(self, input)

        members["forward"] = forward
    _MADE[kind, accelerator] = type(kind.__name__, (shared, kind), members)
    return _MADE[kind, accelerator]


def _activates(kind: type[_BatchNorm]) -> bool:
    """Whether it is timm's BatchNorm with the activation in it, of EfficientNet, MobileNetV3 and others."""
    return (kind.__module__.partition(".")[0], kind.__name__) == ("timm", "BatchNormAct2d")

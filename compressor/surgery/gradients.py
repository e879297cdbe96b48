"""Gradients that a criterion needs, left on the parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from compressor.surgery.criteria._contract import Criterion
from compressor.tensors import Outputs, call_of, taken

_Named = tuple[Mapping[str, Tensor], Mapping[str, Tensor]]
_Loss = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor]


def accumulate(
    network: nn.Module,
    batches: Iterable[_Named],
    loss: _Loss,
    *,
    criterion: Criterion,
) -> None:
    """Leave on `.grad` what the criterion needs: the mean gradient over all samples, or the mean of squared ones.

    The network stays in its mode, evaluation for one that is looked at and not trained. Frozen parameters are looked at
    like all others.

    Args:
        network: Takes the inputs.
        batches: Inputs and targets by name, each `[B, ...]`.
        loss: Outputs and targets by name -> a scalar, mean over the batch.
        criterion: What it is for.
    """
    network.zero_grad(set_to_none=True)
    if criterion.needs == "weights":
        return
    parameters = list(network.parameters())
    wanted = [parameter.requires_grad for parameter in parameters]
    network.requires_grad_(True)
    try:
        found = _means(network, batches, loss, squared=criterion.needs == "sample_gradients")
    finally:
        for parameter, flag in zip(parameters, wanted, strict=True):
            parameter.requires_grad_(flag)
    for parameter, mean in zip(parameters, found, strict=True):
        parameter.grad = mean


def _means(
    network: nn.Module,
    batches: Iterable[_Named],
    loss: _Loss,
    *,
    squared: bool,
) -> list[Tensor]:
    """The mean gradient of each parameter over all samples, or the mean of squared ones."""
    parameters = list(network.parameters())
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    samples = 0
    for inputs, targets in _single(batches) if squared else batches:
        count = len(next(iter(inputs.values())))
        network.zero_grad(set_to_none=True)
        with torch.enable_grad():
            loss(Outputs.of(network(call_of(inputs))).tensors, targets).backward()  # type: ignore[no-untyped-call]
        for total, parameter in zip(sums, parameters, strict=True):
            if parameter.grad is not None:
                total += parameter.grad.square() if squared else count * parameter.grad
        samples += count
    return [total / max(1, samples) for total in sums]


def _single(batches: Iterable[_Named]) -> Iterator[_Named]:
    for inputs, targets in batches:
        for row in range(len(next(iter(inputs.values())))):
            one = slice(row, row + 1)
            yield taken(inputs, one), taken(targets, one)

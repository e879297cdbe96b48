"""How far the inputs of a network's first BatchNorm are from those it was trained on, which its running statistics keep.

Where several input normalisations give the same answers, this tells with which of them the network was trained.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compressor.measure.steadiness import Stored, answering

_EPSILON = 1e-12


def distance(network: nn.Module, inputs: Stored) -> float | None:
    """The distance, 0 for inputs like those of training: mean over channels of a squared shift of mean and of log deviation.

    Args:
        network: In evaluation mode.
        inputs: Some samples, as the data gives them.

    Returns:
        None for a network without such a layer.

    Raises:
        MeasurementError: It does not run on them.
    """
    found: list[float] = []

    def look(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, _BatchNorm)
        if found or layer.running_mean is None or layer.running_var is None:
            return
        values = given[0].transpose(0, 1).flatten(1).double()
        mean, variance = values.mean(dim=1), values.var(dim=1, unbiased=False) + _EPSILON
        kept = layer.running_var.double() + _EPSILON
        shift = (mean - layer.running_mean.double()) ** 2 / kept
        found.append(float((shift + (0.5 * torch.log(variance / kept)) ** 2).mean()))

    handles = [module.register_forward_pre_hook(look) for module in network.modules() if isinstance(module, _BatchNorm)]
    try:
        if handles:
            answering(network)(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found and np.isfinite(found[0]) else None

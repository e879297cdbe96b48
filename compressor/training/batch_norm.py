"""BatchNorm statistics anew: the cheapest recovery of a network whose layers were changed."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from compressor.data.loader import Loader, as_seen
from compressor.data.samples import Samples, SubsetSamples
from compressor.tensors import call_of

_BATCH = 128


def re_estimate(network: nn.Module, samples: Samples, *, number: int, seed: int) -> int:
    """Replace the running means and variances by the plain averages over some samples, in place.

    A cut layer hands the next one fewer terms, so that the statistics it was normalised with no longer hold; NNCF and
    mmrazor do the same after each change. Weights are not touched, the mode of the network stays.

    Args:
        network: Takes samples as the data gives them, pixels in 0–1.
        samples: Of the training set.
        number: How many of them to use.
        seed: Of their choice.

    Returns:
        How many BatchNorm layers were given new statistics; 0 when there are none.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    if not norms:
        return 0
    chosen = np.random.default_rng([seed, 0xB4]).permutation(len(samples))[:number]
    loader = Loader(SubsetSamples(samples, np.sort(chosen)), batch_size=_BATCH, seed=seed, shuffle=True, drop_last=True)
    modes = {module: module.training for module in network.modules()}
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # every batch counts alike (torch's cumulative average)
    try:
        with torch.no_grad():
            for loaded in loader.batches(0):
                network(call_of(as_seen(loaded.inputs)))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
    return len(norms)

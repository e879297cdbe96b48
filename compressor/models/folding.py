"""Fold BatchNorm into the convolution before it, for a network that no longer changes.

In evaluation mode BatchNorm is `(x − mean) / √(var + eps) · weight + bias`, a scale and a shift of each channel, which the
convolution can do with other weights (Jacob et al. 2018, arXiv 1712.05877, equation 14). torch.fx finds the pairs.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import fx, nn
from torch.fx.experimental import optimization
from torch.nn import functional

from compressor.errors import FOREIGN_FAULTS
from compressor.models.combined import Combined
from compressor.models.network import Network

if TYPE_CHECKING:
    from compressor.tensors import Inputs

_LARGEST_DIFFERENCE = 1e-3
_CALLS = (functional.batch_norm, torch.batch_norm)


def fold_batch_norm(network: Network, inputs: Inputs) -> tuple[Network, str]:
    """A copy with BatchNorm folded in, if it answers as the network does; otherwise the network itself.

    Args:
        network: In evaluation mode.
        inputs: Some real inputs to compare the answers on.

    Returns:
        The network to use, and in words what was done or why not.
    """
    if isinstance(network.module, Combined):
        return _fold_members(network, inputs)
    num_norms = sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    if num_norms == 0:
        return network, "it has none"
    try:
        folded = copy.deepcopy(network)
        folded.module = optimization.fuse(folded.module)
        with torch.no_grad():
            expected, got = network(inputs), folded(inputs)
    except (*FOREIGN_FAULTS, fx.proxy.TraceError) as fault:
        return network, f"left as it is: torch.fx cannot follow it ({type(fault).__name__})"
    left = _norms_left(folded)
    if left >= num_norms:
        return network, f"left as it is: torch.fx finds none of {num_norms} behind a convolution"
    spread = float(expected.std()) or 1.0
    difference = float((expected - got).abs().max()) / spread
    if not difference <= _LARGEST_DIFFERENCE:
        return network, f"left as it is: folded, it answers differently (by {difference:.1e} of the spread)"
    return folded.eval().requires_grad_(False), f"{num_norms - left} of {num_norms}; answers differ by {difference:.0e}"


def _norms_left(folded: nn.Module) -> int:
    """Norms that are modules, and calls in traced graphs of those that torch.fx followed into (timm's, for one)."""
    called: int = sum(
        node.op == "call_function" and node.target in _CALLS
        for module in folded.modules()
        if isinstance(module, fx.GraphModule)
        for node in module.graph.nodes
    )
    return called + sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in folded.modules())


def _fold_members(network: Network, inputs: Inputs) -> tuple[Network, str]:
    """A combination whose members are each folded where that changes no answer."""
    whole = network.module
    assert isinstance(whole, Combined)
    found = [fold_batch_norm(member, inputs) for member in whole.networks if isinstance(member, Network)]
    if len(found) != len(whole.networks) or all(
        folded is member for (folded, _), member in zip(found, whole.networks, strict=True)
    ):
        return network, "; ".join(why for _, why in found) or "it has none"
    faster = Network(Combined([folded for folded, _ in found], whole.rule), network.normalisation)
    return faster.eval().requires_grad_(False), "; ".join(why for _, why in found)

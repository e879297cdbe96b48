"""Quantization-aware training by simulated rounding: Jacob et al. 2018 (arXiv 1712.05877), section 3.

The network is trained as it is, with weights and inputs of its layers rounded in the forward pass as `static` will round
them, and the gradient passed straight through (Bengio et al. 2013, arXiv 1308.3432). What is exported is the float network,
whose weights have learnt where the grid lies; `static` then writes it like any other.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from compressor.errors import ModelError
from compressor.quantizers._contract import Cpu

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
_INPUTS = "rounded_inputs"
_LEVELS = 255
_MOMENTUM = 0.02


class Qat:
    """Int8 like static, after training with the rounding that it will run with, from the teacher's soft targets.

    Args:
        calibration: As in static, for the trained network.
        per_channel: A scale for each output channel of weights.
        correct_bias: As in static.
    """

    def __init__(
        self,
        *,
        calibration: Literal["minmax", "entropy", "percentile"] = "minmax",
        per_channel: bool = True,
        correct_bias: bool | Literal["auto"] = "auto",
    ) -> None:
        self.written_by = {"calibration": calibration, "per_channel": per_channel, "correct_bias": correct_bias}
        self.per_channel = per_channel

    def attach(self, network: nn.Module, *, cpu: Cpu) -> int:
        """Simulate rounding in every convolution and fully connected layer, in place; returns how many there are.

        Of `nn.MultiheadAttention` the weights of both projections are rounded and the inputs of the first: it reads the
        weights of the second without calling it, so what that is given cannot be reached.

        Raises:
            ModelError: A weight is computed from others (weight or spectral norm), so that it cannot be trained as it is.
        """
        layers = {path: module for path, module in network.named_modules() if isinstance(module, _LAYERS)}
        attentions = {path: each for path, each in network.named_modules() if isinstance(each, nn.MultiheadAttention)}
        for path, layer in layers.items():
            if parametrize.is_parametrized(layer) or "weight" not in layer._parameters:
                hint = "take weight_norm or spectral_norm out of the network first, or --method static"
                raise ModelError("its weight is computed from others; it cannot be rounded", where=path, hint=hint)
        largest = 64 if cpu.reduce_range else 127
        unreached = {f"{path}.out_proj" if path else "out_proj" for path in attentions}
        weights: list[tuple[str, nn.Module, str]] = [(path, layer, "weight") for path, layer in layers.items()]
        weights += [(path, each, name) for path, each in attentions.items() for name in _weights_of(each)]
        for path, module, name in weights:
            parametrize.register_parametrization(module, name, _RoundedWeight(largest, per_channel=self.per_channel))
            if path not in unreached and not hasattr(module, _INPUTS):
                module.add_module(_INPUTS, _RoundedInputs(symmetric=cpu.activations == "int8"))
                module.register_forward_pre_hook(_round_attended if path in attentions else _round_inputs)
        return len(layers)

    def detach(self, network: nn.Module) -> None:
        """Take the simulation out again, in place; weights stay as they were trained, not rounded."""
        for layer in network.modules():
            for name in ("weight", *_PROJECTIONS):
                if parametrize.is_parametrized(layer, name):
                    parametrized: Any = layer.parametrizations
                    original = parametrized[name].original.detach().clone()
                    parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
                    setattr(layer, name, nn.Parameter(original))
            if hasattr(layer, _INPUTS):
                delattr(layer, _INPUTS)
            hooks = layer._forward_pre_hooks
            for key in [key for key, hook in hooks.items() if hook in (_round_inputs, _round_attended)]:
                del hooks[key]


class _RoundedWeight(nn.Module):
    """Weights `[O, ...]` on the symmetric grid of 8 (or 7) bits that their largest value spans."""

    def __init__(self, largest: int, *, per_channel: bool) -> None:
        super().__init__()
        self.largest = largest
        self.per_channel = per_channel

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weights; the gradient is that of the weights themselves."""
        axes = tuple(range(1, weight.dim())) if self.per_channel else tuple(range(weight.dim()))
        scale = (weight.detach().abs().amax(axes, keepdim=True) / self.largest).clamp_min(1e-12)
        rounded = (weight / scale).round().clamp(-self.largest, self.largest) * scale
        return weight + (rounded - weight).detach()


class _RoundedInputs(nn.Module):
    """Activations on the grid of 8 bits between the least and the largest value, as averaged over training so far.

    Args:
        symmetric: Around 0, as signed activations are written.
    """

    low: Tensor
    high: Tensor
    seen: Tensor

    def __init__(self, *, symmetric: bool = False) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, values: Tensor) -> Tensor:
        """The rounded values; the gradient is that of the values themselves, none outside the range."""
        if self.training:
            self._look(values.detach())
        low, high = self.low, self.high
        if self.symmetric:
            high = torch.maximum(high, -low)
            low = -high
        scale = ((high - low) / _LEVELS).clamp_min(1e-12)
        kept = values.clamp(low, high)
        zero = (-low / scale).round()
        rounded = ((kept / scale + zero).round().clamp(0, _LEVELS) - zero) * scale
        return kept + (rounded - kept).detach()

    @torch.no_grad()
    def _look(self, values: Tensor) -> None:
        low, high = values.amin().clamp_max(0).float(), values.amax().clamp_min(0).float()
        share = torch.where(self.seen == 0, 1.0, _MOMENTUM)
        self.low.lerp_(low, share)
        self.high.lerp_(high, share)
        self.seen += 1


def _round_inputs(layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    return (getattr(layer, _INPUTS)(given[0]), *given[1:])


def _round_attended(attention: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Round queries, keys and values; those that are one tensor stay one, which `nn.MultiheadAttention` looks at."""
    different = {id(each): each for each in given[:3]}
    rounded = {number: getattr(attention, _INPUTS)(each) for number, each in different.items()}
    return (*(rounded[id(each)] for each in given[:3]), *given[3:])


def _weights_of(attention: nn.MultiheadAttention) -> list[str]:
    """The projections into an attention that it has: one for all, or one each."""
    return [name for name in _PROJECTIONS if attention._parameters.get(name) is not None]

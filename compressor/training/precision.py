"""Device, precision and memory layout of a run; each choice with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from compressor.artifact import Decision
from compressor.errors import FOREIGN_FAULTS, InputError
from compressor.recipe import TrainingSettings

FabricPrecision = Literal["32-true", "bf16-mixed", "16-mixed"]
_SMALLEST_SIDE_FOR_BF16 = 16
_CHANNELS_OF_A_BLOCK = 16
"""Channels that oneDNN handles at once with AVX-512 (8 with AVX2); fewer are what its fault in `_breaks_backward` needs."""
_EXACT: tuple[FabricPrecision, str] = ("32-true", "answers are numbers, of which 16 bits keep three digits")


@dataclass(frozen=True)
class RunConditions:
    """How the loop computes.

    Attributes:
        accelerator: What Fabric calls the kind of device.
        device_index: Which one, for GPUs.
        precision: What Fabric calls the precision.
        memory_format: Layout of 4-D tensors.
        fused: Whether the optimiser updates all weights in one kernel.
        decisions: The choices that were `auto`, and why.
    """

    accelerator: str
    device_index: int
    precision: FabricPrecision
    memory_format: torch.memory_format
    fused: bool
    decisions: tuple[Decision, ...]


def choose(
    settings: TrainingSettings,
    network: nn.Module,
    *,
    sample_shape: tuple[int, ...],
    teacher: nn.Module | None = None,
    of_numbers: bool = False,
) -> RunConditions:
    """Resolve `device`, `precision` and `channels_last`.

    Args:
        settings: As stated, or `auto`.
        network: What is trained.
        sample_shape: Of one input.
        teacher: What sees the same inputs.
        of_numbers: Whether answers are numbers in the unit of the data, of which bfloat16 keeps three digits.

    Raises:
        InputError: A stated device does not exist here, or cannot compute in the stated precision or layout.
    """
    accelerator, index, why_device = _device(settings.device)
    if settings.precision == "auto" and of_numbers:
        precision, why_precision = _EXACT
    else:
        precision, why_precision = _precision(settings.precision, accelerator, network, sample_shape)
    last, why_layout = _channels_last(settings.channels_last, accelerator, network, teacher, sample_shape)
    decisions = []
    if settings.device == "auto":
        decisions.append(Decision("device", accelerator, why_device))
    if settings.precision == "auto":
        decisions.append(Decision("precision", precision, why_precision))
    if settings.channels_last == "auto":
        decisions.append(Decision("channels_last", str(last).lower(), why_layout))
    layout = torch.channels_last if last else torch.contiguous_format
    # the scaler of 16-bit training and a fused optimiser both want to unscale the gradients
    fused = accelerator in ("cpu", "cuda") and precision != "16-mixed"
    return RunConditions(accelerator, index, precision, layout, fused, tuple(decisions))


def _device(wanted: str) -> tuple[str, int, str]:
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda", 0, f"this machine has a {torch.cuda.get_device_name(0)}"
        if torch.backends.mps.is_available():
            return "mps", 0, "this machine has an Apple GPU"
        return "cpu", 0, "torch sees no GPU here"
    name, _, index = wanted.partition(":")
    if name == "cpu":
        return "cpu", 0, ""
    if name == "cuda" and torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count():
        return "cuda", int(index or 0), ""
    if name == "mps" and torch.backends.mps.is_available():
        return "mps", 0, ""
    raise InputError(
        f"there is no device '{wanted}' here",
        where="device",
        hint="write cpu or auto (compress doctor shows what is here)",
    )


def _precision(
    wanted: str, accelerator: str, network: nn.Module, sample_shape: tuple[int, ...]
) -> tuple[FabricPrecision, str]:
    if wanted == "32":
        return "32-true", ""
    if wanted == "bf16":
        return "bf16-mixed", ""
    if wanted == "16":
        if accelerator == "cpu":
            raise InputError("precision 16 needs a GPU", where="precision", hint="write bf16, 32 or auto")
        return "16-mixed", ""
    if accelerator == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16-mixed", "this GPU computes bfloat16 in hardware"
        return "32-true", "this GPU has no bfloat16 in hardware"
    if accelerator == "mps":
        return "32-true", "mixed precision on Apple GPUs is not measured yet"
    unit = bf16_unit_of_cpu()
    if unit is None:
        return "32-true", "this CPU has no instructions for bfloat16 products (AMX or AVX-512 BF16)"
    if len(sample_shape) != 3 or min(sample_shape[1:]) < _SMALLEST_SIDE_FOR_BF16:
        return "32-true", f"inputs of shape {list(sample_shape)} are too small to gain from bfloat16"
    if any(isinstance(module, nn.Conv2d) and _is_depthwise(module) for module in network.modules()):
        return "32-true", "depthwise convolutions are slower in bfloat16 on a CPU"
    return "bf16-mixed", f"this CPU multiplies bfloat16 in hardware ({unit})"


def bf16_unit_of_cpu() -> str | None:
    """What of the CPU multiplies bfloat16 and is used by torch; None where nothing does."""
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    if torch.cpu._is_avx512_bf16_supported():
        return "AVX-512 BF16"
    return None


def _is_depthwise(convolution: nn.Conv2d) -> bool:
    return convolution.groups > 1 and convolution.groups == convolution.in_channels


def _channels_last(
    wanted: bool | Literal["auto"],
    accelerator: str,
    network: nn.Module,
    teacher: nn.Module | None,
    sample_shape: tuple[int, ...],
) -> tuple[bool, str]:
    broken = _breaks_backward(network, teacher) if accelerator == "cpu" else None
    if wanted is True and broken is not None:
        hint = 'write channels_last = "auto" or false'
        raise InputError(f"PyTorch would crash in training: {broken}", where="channels_last", hint=hint)
    if wanted != "auto":
        return wanted, ""
    if len(sample_shape) != 3 or not any(isinstance(module, nn.Conv2d) for module in network.modules()):
        return False, "no convolution on images"
    if broken is not None:
        return False, f"PyTorch would crash with channels last: {broken}"
    for name, each in (("network", network), ("teacher", teacher)):
        fault = None if each is None else _fault_with_channels_last(each, sample_shape)
        if fault is not None:
            return False, f"the {name} does not run with channels last: {fault}"
    return True, "convolutions run faster with channels last"


def _breaks_backward(network: nn.Module, teacher: nn.Module | None) -> str | None:
    """The first layer whose backward pass writes past its memory on a CPU with channels last, in words.

    That is oneDNN's: the gradient of the weights of a strided 1 × 1 convolution on fewer channels than it handles at once
    (docs/decisions/040). Depending on size and CPU the process dies, hangs, or gets wrong gradients, so it is not tried.
    """
    for each in (network, teacher):
        for name, module in () if each is None else each.named_modules():
            if isinstance(module, nn.Conv2d) and module.weight.requires_grad and _is_strided_point(module):
                channels = module.weight.shape[1]
                return (
                    f"the backward pass of {name or 'the network'}, a strided 1 x 1 convolution on {channels} channels"
                )
    return None


def _is_strided_point(convolution: nn.Conv2d) -> bool:
    one_by_one = tuple(convolution.weight.shape[2:]) == (1, 1) and max(convolution.stride) > 1
    return one_by_one and convolution.groups == 1 and convolution.weight.shape[1] < _CHANNELS_OF_A_BLOCK


@torch.no_grad()
def _fault_with_channels_last(network: nn.Module, sample_shape: tuple[int, ...]) -> str | None:
    """What a network says to channels last; `x.view(len(x), -1)`, for one, wants the usual layout. It is left as it was."""
    trained = network.training
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    try:
        network.eval().to(memory_format=torch.channels_last)
        network(torch.zeros(2, *sample_shape, device=device).contiguous(memory_format=torch.channels_last))
    except FOREIGN_FAULTS as fault:
        return str(fault).strip().split("\n")[0]
    finally:
        network.to(memory_format=torch.contiguous_format).train(trained)
    return None

"""Optimisers: which parameters decay, and the learning rates and decays that `auto` means."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from compressor.artifact import Decision
from compressor.recipe import RecoverySettings, SpecialistSettings, TrainingSettings

_AUTO_LR = {"adamw": 1e-3, "sgd": 0.1}
_AUTO_RECOVERY_LR = {"adamw": 3e-4, "sgd": 0.02}
_AUTO_DECAY = {"adamw": 0.05, "sgd": 5e-4}


def peak_lr(settings: TrainingSettings) -> tuple[float, tuple[Decision, ...]]:
    """The peak learning rate, and why when it was `auto`; the batch must be settled (`budget.settle`)."""
    if settings.lr != "auto":
        return settings.lr, ()
    assert settings.batch_size != "auto", "the rate goes by the batch"
    base, common = usual_lr(settings)
    scale = settings.batch_size / 128
    lr = base * scale if settings.optimizer == "sgd" else base * scale**0.5
    how = "linearly" if settings.optimizer == "sgd" else "with its square root"
    reason = f"{base:g} is {common} at batch 128, scaled {how} to batch {settings.batch_size}"
    return lr, (Decision("lr", f"{lr:.3g}", reason),)


def usual_lr(settings: TrainingSettings) -> tuple[float, str]:
    """The rate that is common at batch 128, and in words what for."""
    recovers = isinstance(settings, RecoverySettings | SpecialistSettings)
    rate = (_AUTO_RECOVERY_LR if recovers else _AUTO_LR)[settings.optimizer]
    return rate, f"common for {settings.optimizer}" + (" on weights that are trained already" if recovers else "")


def make(
    settings: TrainingSettings, modules: Iterable[nn.Module], *, lr: float, fused: bool = False
) -> tuple[torch.optim.Optimizer, tuple[Decision, ...]]:
    """The optimiser over all parameters that want gradients; norms and biases (all 1-D parameters) do not decay.

    Args:
        settings: Kind, momentum and decay.
        modules: Whose parameters.
        lr: The peak learning rate.
        fused: One kernel for the whole update; the same arithmetic up to rounding.
    """
    decay = settings.weight_decay
    decisions: tuple[Decision, ...] = ()
    if decay == "auto":
        decay = _AUTO_DECAY[settings.optimizer]
        decisions = (
            Decision("weight_decay", f"{decay:g}", f"common for {settings.optimizer}; not on norms and biases"),
        )
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        nesterov = settings.momentum > 0
        return torch.optim.SGD(groups, lr=lr, momentum=settings.momentum, nesterov=nesterov, fused=fused), decisions
    return torch.optim.AdamW(groups, lr=lr, fused=fused), decisions


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the learning rate of this step."""
    for group in optimizer.param_groups:
        group["lr"] = lr

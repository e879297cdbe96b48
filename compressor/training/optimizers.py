"""Optimisers: which parameters decay, and the learning rates and decays that `auto` means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from compressor.artifact import Decision
from compressor.errors import InputError
from compressor.recipe import RecoverySettings, SpecialistSettings, TrainingSettings

_SHARE = "share_of_rate"
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
    """The optimiser over all parameters that want gradients; norms, biases (all 1-D parameters) and embeddings do not decay.

    With `layer_decay` the rate falls from the head down: by that factor from block to block, and once more for embeddings.

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
    modules = list(modules)
    looked_up = {
        id(embedding.weight)
        for module in modules
        for embedding in module.modules()
        if isinstance(embedding, nn.Embedding)
    }
    groups: list[dict[str, Any]] = []
    for share, parameters in _by_rate(modules, settings.layer_decay):
        spared = [p.dim() <= 1 or id(p) in looked_up for p in parameters]
        for decays in (True, False):
            chosen = [p for p, is_spared in zip(parameters, spared, strict=True) if is_spared != decays]
            scaled = {} if share == 1.0 else {"lr": lr * share, _SHARE: share}
            groups.append({"params": chosen, "weight_decay": decay if decays else 0.0, **scaled})
    groups = [group for group in groups if group["params"]]
    if settings.layer_decay is not None:
        rates = sorted({group.get(_SHARE, 1.0) for group in groups})
        told = f"{lr * rates[0]:.3g} to {lr:.3g}"
        decisions = (*decisions, Decision("rates of layers", told, f"layer_decay is {settings.layer_decay:g}"))
    if settings.optimizer == "sgd":
        nesterov = settings.momentum > 0
        return torch.optim.SGD(groups, lr=lr, momentum=settings.momentum, nesterov=nesterov, fused=fused), decisions
    return torch.optim.AdamW(groups, lr=lr, fused=fused), decisions


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the learning rate of this step."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get(_SHARE, 1.0)


def _by_rate(modules: Sequence[nn.Module], layer_decay: float | None) -> list[tuple[float, list[nn.Parameter]]]:
    """Parameters that want gradients, with the share of the rate that they learn by: 1 without `layer_decay`.

    Blocks are those of the longest list of the first module, the network; what comes before them are its embeddings.

    Raises:
        InputError: The network has no list of blocks.
    """
    if layer_decay is None:
        return [(1.0, [p for module in modules for p in module.parameters() if p.requires_grad])]
    network = modules[0]
    lists = {path: child for path, child in network.named_modules() if isinstance(child, nn.ModuleList)}
    if not lists:
        hint = "leave layer_decay out"
        raise InputError("the network has no list of blocks whose rates could differ", where="layer_decay", hint=hint)
    path = max(lists, key=lambda each: len(lists[each]))
    count = len(lists[path])
    shares: dict[float, list[nn.Parameter]] = {}
    before = True
    for name, parameter in network.named_parameters():
        if name.startswith(f"{path}."):
            before = False
            place = count - int(name[len(path) + 1 :].partition(".")[0])
        else:
            place = count + 1 if before else 0
        if parameter.requires_grad:
            shares.setdefault(layer_decay**place, []).append(parameter)
    beside = [p for module in modules[1:] for p in module.parameters() if p.requires_grad]
    shares.setdefault(1.0, []).extend(beside)
    return list(shares.items())

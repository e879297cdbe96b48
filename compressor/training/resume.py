"""What a training run needs to go on where it was: written whole or not at all, without pickle.

Batches and views are pure functions of seed, epoch and sample, schedules of the step, and the random generators are
seeded anew in every step; so the state is the tensors of network, losses, optimiser and average, what was chosen on the
way, and where in which epoch the run stands.

What cannot be read exactly as it was written is not gone on from: one changed bit would end in other weights. The
position has a checksum of its own and the hash of the tensors.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from compressor import artifact, sealed_json
from compressor.errors import ArtifactError

TENSORS, POSITION = "state.safetensors", "state.json"
_HASH = "sha256_of_tensors"


@dataclass
class Position:
    """Where a run stands, and what it has shown so far.

    Attributes:
        key: Key of the stage the state belongs to; a state under another key is not used.
        epoch: Epoch to go on with.
        batch: Batch of that epoch to go on with.
        step: Optimiser steps done.
        sums: Running sums of the epoch's loss parts.
        curve: One entry per finished epoch.
        elapsed_s: Seconds of training so far, interruptions left out.
        interruptions: How often the run was resumed.
        scaler: State of the gradient scaler of 16-bit training.
        compiled: Which networks are compiled.
        decisions: What was chosen while the run was going, as `what`, `choice`, `reason`.
        asked: Samples that the teacher has answered so far by computing, in the runs before this one.
    """

    key: str
    epoch: int = 0
    batch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)
    elapsed_s: float = 0.0
    interruptions: int = 0
    scaler: dict[str, Any] = field(default_factory=dict)
    compiled: list[str] = field(default_factory=list)
    decisions: list[dict[str, str]] = field(default_factory=list)
    asked: int = 0


def at(position: Position, *, asked: int) -> Position:
    """The position to keep, with what the teacher has been asked up to now."""
    return replace(position, asked=asked)


def save(
    folder: Path, position: Position, *, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> None:
    """Write the state, replacing the one before it in one step.

    Raises:
        ArtifactError: It cannot be written; the one before it stays.
    """
    tensors = {f"{name}/{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    tensors |= _optimizer_tensors(optimizer)
    temporary = folder.with_name(folder.name + f".writing-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        plain = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
        save_file(plain, temporary / TENSORS)
        kept = {**asdict(position), _HASH: artifact.sha256(temporary / TENSORS)}
        (temporary / POSITION).write_text(sealed_json.text(kept), encoding="utf-8")
        for name in (TENSORS, POSITION):
            with (temporary / name).open("rb") as stream:
                os.fsync(stream.fileno())
    except (OSError, SafetensorError) as fault:
        shutil.rmtree(temporary, ignore_errors=True)
        raise ArtifactError(
            f"the state of the run cannot be written: {fault}", where=str(folder), hint="is the disk full?"
        ) from fault
    retired = folder.with_name(folder.name + ".replaced")
    shutil.rmtree(retired, ignore_errors=True)
    if folder.exists():
        folder.rename(retired)
    temporary.rename(folder)
    shutil.rmtree(retired, ignore_errors=True)


@runtime_checkable
class Remembering(Protocol):
    """A module whose buffers come with the first batch, by the names of its tensors: it says itself which of them fit."""

    def misfit(self, names: Collection[str]) -> str | None:
        """The first buffer that it cannot take, or lacks; None where all fit."""
        ...


def position(folder: Path, *, key: str) -> tuple[Position, str | None]:
    """Where the run under `key` stands, from the beginning if nothing fits; and why a state found was not used."""
    for candidate in (folder, folder.with_name(folder.name + ".replaced")):
        if not candidate.is_dir():
            continue
        try:
            raw = sealed_json.read_file(candidate / POSITION)
            if raw.get("key") == key and raw.pop(_HASH) != artifact.sha256(candidate / TENSORS):
                raise ValueError(f"{TENSORS} is not what was written")
            raw.pop(_HASH, None)
            found = Position(**raw)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
            return Position(key), _begins_anew(f"is damaged ({_said(fault)})")
        if found.key != key:
            return Position(key), _begins_anew("belongs to other settings or data")
        if candidate != folder:
            candidate.rename(folder)
        return found, None
    return Position(key), None


def restore(folder: Path, *, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> str | None:
    """Put the kept tensors back; returns why that was not possible, in which case nothing was changed."""
    try:
        tensors = load_file(folder / TENSORS)
    except (SafetensorError, OSError) as fault:
        return _begins_anew(f"is damaged ({_said(fault)})")
    misfit = _misfit(tensors, modules=modules, optimizer=optimizer)
    if misfit is not None:
        return _begins_anew(f"does not fit the network ({misfit})")
    for name, module in modules.items():
        prefix = f"{name}/"
        module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    _fill_optimizer(optimizer, tensors)
    return None


def _misfit(
    tensors: Mapping[str, Tensor], *, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> str | None:
    """The first tensor that is not there, too much, or of another shape than its parameter; None where all fit.

    Buffers may have grown since they were made (what a batch taught, for the next one).
    """
    remembering = {name: module for name, module in modules.items() if isinstance(module, Remembering)}
    due = {
        f"{name}/{key}" for name, module in modules.items() if name not in remembering for key in module.state_dict()
    }
    shapes = {
        f"{name}/{key}": each.shape for name, module in modules.items() for key, each in module.named_parameters()
    }
    num_parameters = sum(len(group["params"]) for group in optimizer.param_groups)
    for key, value in tensors.items():
        owner, _, rest = key.partition("/")
        index = rest.partition("/")[0]
        if owner in remembering or (owner == "optimizer" and index.isdecimal() and int(index) < num_parameters):
            continue
        if key not in due or shapes.get(key, value.shape) != value.shape:
            return key
    for name, module in remembering.items():
        prefix = f"{name}/"
        stray = module.misfit({key.removeprefix(prefix) for key in tensors if key.startswith(prefix)})
        if stray is not None:
            return prefix + stray
    return min(due - tensors.keys(), default=None)


def _begins_anew(why: str) -> str:
    return f"the kept state {why}, so training starts anew"


def _said(fault: BaseException) -> str:
    """A fault in a few words; a file that is missing by its name alone."""
    if isinstance(fault, OSError) and fault.strerror:
        return f"{Path(str(fault.filename)).name}: {fault.strerror}"
    return str(fault)


def discard(folder: Path) -> None:
    """Remove the state of a finished run."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(folder.with_name(folder.name + ".replaced"), ignore_errors=True)


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer/{index}/{name}": torch.as_tensor(value)
        for index, entries in state.items()
        for name, value in entries.items()
        if value is not None
    }


def _fill_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    filled = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, name = key.split("/", 2)
            like = parameters[int(index)]
            laid_out = torch.empty_like(like, dtype=value.dtype).copy_(value) if value.shape == like.shape else value
            state.setdefault(int(index), {})[name] = laid_out
    optimizer.load_state_dict({"state": state, "param_groups": filled["param_groups"]})

"""Networks that come whole in one file: TorchScript, torch.export programs, and pickles that were trusted."""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import nn

from compressor import trust
from compressor.errors import FOREIGN_FAULTS, ModelError
from compressor.models.spec import PROGRAMS, local_sources
from compressor.registry import importable


def load(path: Path, *, kind: str) -> nn.Module:
    """The network in `path`.

    Args:
        path: The file.
        kind: `torchscript`, `exported` or `pickled`.

    Raises:
        TrustError: Reading it runs code it carries, and it has not been trusted.
        ModelError: It cannot be read.
    """
    if kind in PROGRAMS:
        trust.require(path, what=PROGRAMS[kind])
        return _torchscript(path) if kind == "torchscript" else _exported(path)
    network = _unpickled(path)
    if isinstance(network, dict):
        network = next((value for value in network.values() if isinstance(value, nn.Module)), network)
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"the pickle holds a {type(network).__name__}, not a network",
            where=str(path),
            hint="if it holds weights, give the code that builds their network: --arch file.py:callable",
        )
    return network


def weights(path: Path, *, kind: str) -> Mapping[str, object]:
    """The checkpoint in `path`, for an architecture of its own: what a pickle holds, or the state of a whole network.

    Args:
        path: The file.
        kind: As for `load`.

    Raises:
        TrustError: Reading it runs code it carries, and it has not been trusted.
        ModelError: It cannot be read.
    """
    found = _unpickled(path) if kind == "pickled" else load(path, kind=kind)
    if isinstance(found, Mapping):
        return {key: value.state_dict() if isinstance(value, nn.Module) else value for key, value in found.items()}
    if isinstance(found, nn.Module):
        return found.state_dict()
    raise ModelError(f"the pickle holds a {type(found).__name__}, not weights", where=str(path))


def sources_of(network: nn.Module, folder: Path) -> tuple[Path, ...]:
    """The Python files in `folder` that a pickled network needs to be read again."""
    found: dict[Path, None] = {}
    for module in network.modules():
        origin = getattr(sys.modules.get(type(module).__module__), "__file__", None)
        if origin is not None and Path(origin).resolve().parent == folder:
            found |= dict.fromkeys(local_sources(Path(origin).resolve()))
    return tuple(found)


def _torchscript(path: Path) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # torch >= 2.15 announces the end of TorchScript at each load
            return cast("nn.Module", torch.jit.load(path, map_location="cpu"))  # type: ignore[no-untyped-call]
    except FOREIGN_FAULTS as fault:
        raise ModelError(f"TorchScript cannot be read: {fault}", where=str(path)) from fault


def _exported(path: Path) -> nn.Module:
    try:
        program = torch.export.load(path)
    except FOREIGN_FAULTS as fault:
        raise ModelError(f"the exported program cannot be read: {fault}", where=str(path)) from fault
    return _Exported(program)


def _unpickled(path: Path) -> object:
    trust.require(path, what="a pickle")
    try:
        with importable(path.resolve().parent):
            return torch.load(path, map_location="cpu", weights_only=False)
    except (AttributeError, ImportError) as fault:
        raise ModelError(
            f"the pickled network needs code that is not here: {fault}",
            where=str(path),
            hint="put its source beside the file, or save its state_dict and give the architecture: --arch file.py:callable",
        ) from fault
    except (pickle.UnpicklingError, EOFError, *FOREIGN_FAULTS) as fault:
        raise ModelError(f"the pickle cannot be read: {fault}", where=str(path)) from fault


class _Exported(nn.Module):
    """A torch.export program as a module; it was captured in one mode and stays in it."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self.program = program.module()

    def train(self, mode: bool = True) -> _Exported:
        self.training = mode  # the captured graph refuses train() and eval(); its mode is that of its capture
        return self

    def forward(self, inputs: torch.Tensor) -> object:
        return self.program(inputs)

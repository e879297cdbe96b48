"""Networks that come whole in one file: TorchScript, torch.export programs, and pickles that were trusted."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import cast

import torch
from torch import nn

from compressor import trust
from compressor.errors import ModelError
from compressor.models.build import FOREIGN_FAULTS
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
    if kind == "torchscript":
        return _torchscript(path)
    if kind == "exported":
        trust.require(path, what="a torch.export program, which may hold pickled objects")
        return _exported(path)
    trust.require(path, what="a pickled network")
    return _pickled(path)


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


def _pickled(path: Path) -> nn.Module:
    try:
        with importable(path.resolve().parent):
            network = torch.load(path, map_location="cpu", weights_only=False)
    except (AttributeError, ImportError) as fault:
        raise ModelError(
            f"the pickled network needs code that is not here: {fault}",
            where=str(path),
            hint="put its source beside the file, or give the architecture: --teacher-arch file.py:callable",
        ) from fault
    except FOREIGN_FAULTS as fault:
        raise ModelError(f"the pickle cannot be read: {fault}", where=str(path)) from fault
    if isinstance(network, dict):
        network = next((value for value in network.values() if isinstance(value, nn.Module)), network)
    if not isinstance(network, nn.Module):
        raise ModelError(f"the pickle holds a {type(network).__name__}, not a network", where=str(path))
    return network


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

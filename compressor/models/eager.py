"""Run a compiled network as it is written, for shapes that are not worth compiling for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


def is_compiled(network: nn.Module | None) -> bool:
    """Whether calls of the network go through torch.compile."""
    return network is not None and network._compiled_call_impl is not None


def as_written(network: nn.Module | None) -> AbstractContextManager[object]:
    """While open, `network` runs uncompiled: each batch of another size would be compiled for anew."""
    if not is_compiled(network):
        return nullcontext()  # does not even load the compiler, which takes seconds
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance

"""What a training step of foreign code can raise, turned into one of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from compressor.errors import FOREIGN_FAULTS, CompressError, ModelError


@contextmanager
def foreign_code(batch_size: int, *, lost: Callable[[BaseException], CompressError | None]) -> Iterator[None]:
    """Networks and losses of the user's raise what they like; turned into one of ours at this edge.

    Args:
        batch_size: What is halved in the advice when the memory of the device does not suffice.
        lost: The error for a fault that comes from another process having gone; None for any other.

    Raises:
        ModelError: With what was raised.
        ProcessLostError: Another process has gone.
    """
    try:
        yield
    except torch.OutOfMemoryError as fault:
        hint = f"take smaller steps: --batch-size {max(2, batch_size // 2)}"
        raise ModelError("the device has not enough memory for a training step", where="training", hint=hint) from fault
    except FOREIGN_FAULTS as fault:
        gone = lost(fault)
        if gone is not None:
            raise gone from fault
        text = str(fault).strip().split("\n")[0]
        if "finished reduction" in text:  # DDP
            raise ModelError(
                "the network has parameters that a step does not use, which several processes cannot train together",
                where="training",
                hint="freeze them (requires_grad = False), or train with one process",
            ) from fault
        raise ModelError(f"a training step fails: {type(fault).__name__}: {text}", where="training") from fault

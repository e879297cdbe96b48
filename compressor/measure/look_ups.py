"""The columns of a table that a network looks up in embeddings: numbers of categories, which must stay what they are.

Shape letters: B batch, F features, L look-ups of one sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from compressor.errors import FOREIGN_FAULTS

LEFT_ALONE = "columns left as they are"
"""What the decision is called that names such columns."""
Statistics = tuple[Sequence[float], Sequence[float]]


def embedded_columns(network: nn.Module, inputs_BF: NDArray[np.float32]) -> tuple[int, ...]:
    """The positions of the columns that reach an embedding as they are, or moved by a constant.

    Args:
        network: Takes them as they are.
        inputs_BF: Some rows.

    Returns:
        None of them where the network does not run on these rows.
    """
    try:
        with torch.no_grad(), _LookUps() as seen:
            network(torch.from_numpy(inputs_BF))
    except FOREIGN_FAULTS:
        return ()
    rows = len(inputs_BF)
    asked_BL = [
        each.reshape(rows, -1).numpy()
        for each in seen.asked
        if each.numel() and each.numel() % rows == 0 and each.shape[0] == rows
    ]
    # positions are looked up as well, but are the same for every sample
    told = [each for each in asked_BL if (each != each[:1]).any()]
    if not told:
        return ()
    asked_BA = np.concatenate(told, axis=1)
    return tuple(
        column
        for column in whole_columns(inputs_BF)
        if (np.ptp(asked_BA - inputs_BF[:, column : column + 1], axis=0) == 0).any()
    )


def whole_columns(inputs_BF: NDArray[np.float32]) -> tuple[int, ...]:
    """The positions of the columns that hold whole numbers alone, none below 0."""
    whole_F = ((inputs_BF == np.floor(inputs_BF)) & (inputs_BF >= 0)).all(axis=0)
    return tuple(np.flatnonzero(whole_F).tolist())


def without(columns: Sequence[int], statistics: Statistics) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means and deviations that leave some columns as they are."""
    mean, std = list(statistics[0]), list(statistics[1])
    for column in columns:
        mean[column], std[column] = 0.0, 1.0
    return tuple(mean), tuple(std)


class _LookUps(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps what embeddings are asked for; below Python, so that those of a TorchScript file are seen as well."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asked: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name == "embedding":
            self.asked.append(args[1].detach().clone())
        if name in ("_embedding_bag", "_embedding_bag_forward_only"):
            self.asked.append(_by_bag(args[1], args[2]).detach().clone())
        return func(*args, **(kwargs or {}))


def _by_bag(indices: Tensor, begins: Tensor) -> Tensor:
    """What each bag of `nn.EmbeddingBag` looks up, `[B, L]` where all have as many; flattened, as it is handed on, else."""
    bags = len(begins)
    alike = bags > 0 and indices.numel() % bags == 0
    if alike and torch.equal(begins, torch.arange(bags, dtype=begins.dtype) * (indices.numel() // bags)):
        return indices.reshape(bags, -1)
    return indices

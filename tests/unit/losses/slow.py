"""What tests of losses share: outputs, and gradients of slow calculations by finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.tasks.classification import Classification
from compressor.tensors import Batch, Outputs
from tests.named import named_batch

Array = NDArray[np.float64]


def random(*shape: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def leaf(array: Array) -> Tensor:
    return torch.from_numpy(array).float().requires_grad_()


def outputs(features: dict[str, Tensor], rows: int) -> Outputs:
    return Outputs.of(torch.zeros(rows, 3), features)


def batch(rows: int, *, ids: Sequence[int] | None = None, labels: Sequence[int] | None = None) -> Batch:
    numbers = torch.arange(rows) if ids is None else torch.tensor(ids)
    return named_batch(torch.zeros(rows, 1), torch.tensor(labels or [0] * rows), numbers, -1, Classification())


def assert_gradient(found: Tensor, by_hand: Callable[[Array], float], at: Array, *, seed: int = 99) -> None:
    """The gradient agrees with central differences of the slow calculation along three random directions."""
    for number in range(3):
        direction = random(*at.shape, seed=seed + number)
        step = 1e-5
        slope = (by_hand(at + step * direction) - by_hand(at - step * direction)) / (2 * step)
        assert float((found.double().numpy() * direction).sum()) == pytest.approx(slope, rel=2e-3, abs=1e-6)

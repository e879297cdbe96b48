"""Knowledge review against convolutions and averages written out as loops in float64."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from compressor.errors import InputError
from compressor.losses.review import Review
from tests.unit.losses.slow import Array, assert_gradient, batch, leaf, outputs, random

B = 3


def numbers(tensor: torch.Tensor) -> Array:
    return tensor.detach().double().numpy()


def convolved(x: Array, weight: Array) -> Array:
    """A k×k convolution with zero padding that keeps the size."""
    (count, _, height, width), (out, _, k, _) = x.shape, weight.shape
    padded = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    found = np.zeros((count, out, height, width))
    for i, j in product(range(height), range(width)):
        found[:, :, i, j] = np.einsum("bcij,ocij->bo", padded[:, :, i : i + k, j : j + k], weight)
    return found


def batch_normed(x: Array) -> Array:
    mean, variance = x.mean(axis=(0, 2, 3), keepdims=True), x.var(axis=(0, 2, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5)


def resized(x: Array, size: int) -> Array:
    at = np.arange(size) * x.shape[2] // size
    return x[:, :, at][:, :, :, at]


def averaged(x: Array, size: int) -> Array:
    step = x.shape[2] // size
    blocks = x.reshape(*x.shape[:2], size, step, size, step)
    return blocks.mean(axis=(3, 5))


def hierarchical(student: Array, teacher: Array) -> float:
    """The mean square, and shares of 1/2, 1/4, 1/8 at 4, 2 and 1 places in a row, where these are fewer."""
    size = student.shape[2]
    smaller = [level for level in (4, 2, 1) if level < size]
    levels = [(1.0, size), *((0.5 ** (1 + index), level) for index, level in enumerate(smaller))]
    squares = [share * ((averaged(student, n) - averaged(teacher, n)) ** 2).mean() for share, n in levels]
    return float(sum(squares) / sum(share for share, _ in levels))


def fused(fusion: nn.Module, own: Array, deeper: Array | None, size: int) -> tuple[Array, Array]:
    narrow, widen, shares = fusion.narrow, fusion.widen, fusion.shares
    blend = batch_normed(convolved(own, numbers(narrow[0].weight)))
    if deeper is not None:
        deeper = resized(deeper, own.shape[2])
        scores = convolved(np.concatenate([blend, deeper], axis=1), numbers(shares.weight))
        share = 1 / (1 + np.exp(-(scores + numbers(shares.bias)[None, :, None, None])))
        blend = blend * share[:, :1] + deeper * share[:, 1:]
    blend = resized(blend, size)
    return batch_normed(convolved(blend, numbers(widen[0].weight))), blend


def two_stages() -> Review:
    torch.manual_seed(0)
    loss = Review(width=5)
    loss.settle({"a": (2, 3, 8, 8), "b": (2, 4, 4, 4)}, {"x": (2, 6, 8, 8), "y": (2, 7, 4, 4)})
    return loss


SHALLOW, DEEP = random(B, 3, 8, 8, seed=0), random(B, 4, 4, 4, seed=1)
TEACHER = {"x": random(B, 6, 8, 8, seed=2), "y": random(B, 7, 4, 4, seed=3)}


def by_hand(loss: Review, shallow: Array, deep: Array) -> float:
    from_deep, blend = fused(loss.fusions[1], deep, None, 4)
    from_shallow, _ = fused(loss.fusions[0], shallow, blend, 8)
    return hierarchical(from_deep, TEACHER["y"]) + hierarchical(from_shallow, TEACHER["x"])


def value(loss: Review, shallow: torch.Tensor, deep: torch.Tensor) -> torch.Tensor:
    teacher = {path: torch.from_numpy(feature).float() for path, feature in TEACHER.items()}
    return loss(outputs({"a": shallow, "b": deep}, B), outputs(teacher, B), batch(B))


def test_it_is_the_sum_over_stages_of_the_hierarchical_loss_of_fused_features() -> None:
    loss = two_stages()

    found = value(loss, leaf(SHALLOW), leaf(DEEP))

    assert found.item() == pytest.approx(by_hand(loss, SHALLOW, DEEP), rel=1e-4)


def test_the_gradient_reaches_both_stages_as_differences_say() -> None:
    loss, shallow, deep = two_stages(), leaf(SHALLOW), leaf(DEEP)

    value(loss, shallow, deep).backward()

    assert shallow.grad is not None
    assert deep.grad is not None
    assert_gradient(shallow.grad, lambda at: by_hand(loss, at, DEEP), SHALLOW)
    assert_gradient(deep.grad, lambda at: by_hand(loss, SHALLOW, at), DEEP)


def test_the_deepest_stage_has_nothing_to_blend_with() -> None:
    loss = two_stages()

    assert loss.fusions[1].shares is None
    assert loss.fusions[0].shares is not None
    assert all(parameter.requires_grad for parameter in loss.parameters())


def test_a_shallow_teacher_stage_also_teaches_the_deep_student_stage() -> None:
    loss, shallow, deep = two_stages(), leaf(SHALLOW), leaf(DEEP)
    _, blend = loss.fusions[1](deep, None, (4, 4))
    from_shallow, _ = loss.fusions[0](shallow, blend, (8, 8))

    from_shallow.square().mean().backward()

    assert deep.grad is not None
    assert deep.grad.abs().sum() > 0


def test_the_fusions_can_be_learned() -> None:
    loss = two_stages()
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.02)
    first = value(loss, leaf(SHALLOW), leaf(DEEP)).item()
    for _ in range(40):
        optimizer.zero_grad()
        value(loss, leaf(SHALLOW), leaf(DEEP)).backward()
        optimizer.step()

    assert value(loss, leaf(SHALLOW), leaf(DEEP)).item() < 0.7 * first


@pytest.mark.parametrize(("height", "width"), [(5, 3), (1, 4), (2, 2)])
def test_sizes_that_no_level_divides_are_taken(height: int, width: int) -> None:
    torch.manual_seed(0)
    loss = Review(pairs=[["a", "x"]])
    loss.settle({"a": (2, 3, height, width)}, {"x": (2, 4, height + 1, width)})
    student, teacher = torch.randn(B, 3, height, width), torch.randn(B, 4, height + 1, width)

    assert torch.isfinite(loss(outputs({"a": student}, B), outputs({"x": teacher}, B), batch(B)))


def test_a_negative_width_is_refused() -> None:
    with pytest.raises(InputError, match="width = -1"):
        Review(width=-1)

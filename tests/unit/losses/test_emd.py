"""Earth mover's matching against a linear program, and its weights and edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from compressor.errors import InputError
from compressor.losses import emd
from compressor.losses.emd import EMD
from compressor.tensors import Outputs
from tests.unit.losses.slow import Array, assert_gradient, batch, leaf, outputs, random

B = 3


def moved(cost: Array, mine: Array, theirs: Array) -> float:
    """The least cost of moving one set of weights onto the other."""
    rows, columns = cost.shape
    sums = np.zeros((rows + columns, rows * columns))
    for i in range(rows):
        sums[i, i * columns : (i + 1) * columns] = 1
    for j in range(columns):
        sums[rows + j, j::columns] = 1
    return float(linprog(cost.ravel(), A_eq=sums, b_eq=np.concatenate([mine, theirs])).fun)


def plain(*, grid: int = 2, width: int = 4, height: int = 2) -> EMD:
    """One pair of maps of the same width, nothing projected."""
    loss = EMD(grid=grid)
    loss.settle({"s": (2, width, height, height)}, {"t": (2, width, height, height)})
    loss.projectors = nn.ModuleList([nn.Identity()])
    return loss


def value(loss: EMD, student: Tensor, teacher: Array) -> Tensor:
    return loss(outputs({"s": student}, B), outputs({"t": torch.from_numpy(teacher).float()}, B), batch(B))


def cosines(mine: Array, theirs: Array) -> Array:
    lengths = np.linalg.norm(mine, axis=1)[:, None] * np.linalg.norm(theirs, axis=1)[None]
    return mine @ theirs.T / lengths


def weights(rows: Array, others: Array) -> Array:
    products = np.maximum(rows @ others.mean(axis=0), 0)
    return products / products.sum() if products.sum() > 0 else np.full(len(rows), 1 / len(rows))


def places(feature: Array) -> list[Array]:
    return [sample.reshape(sample.shape[0], -1).T for sample in feature]


STUDENT, TEACHER = random(B, 4, 2, 2, seed=0) + 0.5, random(B, 4, 2, 2, seed=1) + 0.5


def test_it_is_the_least_cost_of_moving_one_set_onto_the_other() -> None:
    expected = []
    for mine, theirs in zip(places(STUDENT), places(TEACHER), strict=True):
        rounded = [emd._rounded(each, 16) / 16 for each in (weights(mine, theirs), weights(theirs, mine))]
        expected.append(moved(1 - cosines(mine, theirs), *rounded))

    assert value(plain(), leaf(STUDENT), TEACHER).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_rounding_the_weights_changes_little() -> None:
    exact = [
        moved(1 - cosines(mine, theirs), weights(mine, theirs), weights(theirs, mine))
        for mine, theirs in zip(places(STUDENT), places(TEACHER), strict=True)
    ]

    assert value(plain(), leaf(STUDENT), TEACHER).item() == pytest.approx(np.mean(exact), abs=0.05)


def test_the_gradient_is_that_of_the_cost_with_the_flow_held_still() -> None:
    loss, student = plain(), leaf(STUDENT)
    flows = []
    for mine, theirs in zip(places(STUDENT), places(TEACHER), strict=True):
        weighed = weights(mine, theirs)[None], weights(theirs, mine)[None]
        flows.append(emd._flows((1 - cosines(mine, theirs))[None], *weighed)[0])

    def by_hand(at: Array) -> float:
        pairs = zip(places(at), places(TEACHER), flows, strict=True)
        return sum(float((flow * (1 - cosines(mine, theirs))).sum()) for mine, theirs, flow in pairs) / B

    value(loss, student, TEACHER).backward()

    assert student.grad is not None
    assert_gradient(student.grad, by_hand, STUDENT)


def test_flows_carry_exactly_the_rounded_weights() -> None:
    rng = np.random.default_rng(0)
    mine, theirs = rng.dirichlet(np.ones(9), size=4), rng.dirichlet(np.ones(5), size=4)

    flow = emd._flows(rng.random((4, 9, 5)), mine, theirs)

    parts = 4 * 9
    assert (flow >= 0).all()
    assert np.allclose(flow.sum(axis=(1, 2)), 1)
    assert np.allclose(flow.sum(axis=2) * parts, [emd._rounded(each, parts) for each in mine])
    assert np.abs(flow.sum(axis=1) - theirs).max() <= 1 / parts


def test_the_same_places_in_another_order_cost_nothing() -> None:
    shuffled = STUDENT.reshape(B, 4, 4)[:, :, [2, 0, 3, 1]].reshape(B, 4, 2, 2)

    cost = value(plain(), leaf(STUDENT), shuffled).item()

    assert cost == pytest.approx(0.0, abs=1e-5)


def test_places_that_point_away_from_the_others_weigh_nothing_and_all_of_them_the_same() -> None:
    towards, away = torch.ones(1, 2, 3), -torch.ones(1, 2, 3)

    assert emd._weights(torch.cat([towards, away], dim=1), towards).tolist() == [[0.5, 0.5, 0.0, 0.0]]
    assert emd._weights(away, towards).tolist() == [[0.5, 0.5]]


def test_large_maps_and_long_rows_of_tokens_are_averaged_down() -> None:
    loss = EMD(grid=2)

    assert loss._places(torch.randn(B, 5, 7, 9)).shape == (B, 4, 5)
    assert loss._places(torch.randn(B, 17, 5)).shape == (B, 4, 5)
    assert loss._places(torch.randn(B, 5)).shape == (B, 1, 5)


def test_a_network_can_teach_its_own_shallow_layers() -> None:
    torch.manual_seed(0)
    loss = EMD(pairs=[["shallow", "deep"]])
    shapes = {"shallow": (2, 4, 8, 8), "deep": (2, 6, 4, 4)}
    loss.settle(shapes, shapes)
    shallow, deep = torch.randn(B, 4, 8, 8, requires_grad=True), torch.randn(B, 6, 4, 4, requires_grad=True)
    own = Outputs.of(torch.zeros(B, 3), {"shallow": shallow, "deep": deep})

    loss(own, own, batch(B)).backward()

    assert shallow.grad is not None
    assert deep.grad is None


@pytest.mark.parametrize("grid", [0, 9])
def test_a_grid_out_of_range_is_refused(grid: int) -> None:
    with pytest.raises(InputError, match=f"grid = {grid}"):
        EMD(grid=grid)


def test_features_that_are_not_finite_show_in_the_loss_and_stop_nothing_before_it() -> None:
    broken = leaf(np.where(STUDENT > 1, np.nan, STUDENT))

    assert torch.isnan(value(plain(), broken, TEACHER))

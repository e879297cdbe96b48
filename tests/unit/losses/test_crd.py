"""Contrastive representation distillation against loops over pairs of samples in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from compressor.errors import InputError, ModelError
from compressor.losses._contract import Context
from compressor.losses.crd import CRD
from tests.unit.losses.slow import Array, assert_gradient, batch, leaf, outputs, random

M, B, N, T = 12, 4, 6, 0.2
LABELS = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, -1, -1]
IDS = [3, 0, 10, 7]
STUDENT, TEACHER = random(B, 5, seed=0), random(B, 7, seed=1)


def contrast(*, negatives: int = N, labels: list[int] | None = None, width: int = 4) -> CRD:
    torch.manual_seed(0)
    loss = CRD(pairs=[["s", "t"]], width=width, negatives=negatives, temperature=T, momentum=0.25, scale=1.0)
    loss.prepare(Context(torch.tensor(labels or LABELS), outputs=3))
    loss.settle({"s": (2, 5)}, {"t": (2, 7)})
    return loss


def value(loss: CRD, student: torch.Tensor, teacher: Array = TEACHER, ids: list[int] = IDS) -> torch.Tensor:
    torch.manual_seed(1)
    theirs = torch.from_numpy(teacher).float()
    return loss(outputs({"s": student}, B), outputs({"t": theirs}, B), batch(B, ids=ids))


def unit(rows: Array) -> Array:
    return np.array([row / math.sqrt(sum(each * each for each in row)) for row in rows])


class ByHand:
    """The same with its own memories, negatives drawn as the loss draws them."""

    def __init__(self, loss: CRD) -> None:
        part = loss.contrasts[0]
        tensors = {name: each.detach().double().numpy().copy() for name, each in part.state_dict().items()}
        self.students, self.teachers = tensors["students"], tensors["teachers"]
        self.heads = [(tensors[f"{side}.weight"], tensors[f"{side}.bias"]) for side in ("of_student", "of_teacher")]
        self.norms: list[float] = []
        torch.manual_seed(1)
        assert loss.others is not None
        self.negatives = loss.others.drawn(torch.tensor(IDS), N).tolist()

    def embedded(self, student: Array, teacher: Array) -> tuple[Array, Array]:
        (ws, bs), (wt, bt) = self.heads
        return unit(student @ ws.T + bs), unit(teacher @ wt.T + bt)

    def loss(self, student: Array, teacher: Array = TEACHER, *, norms: list[float] | None = None) -> float:
        total, found = 0.0, []
        sides = list(zip((self.teachers, self.students), self.embedded(student, teacher), strict=True))
        for side, (memory, rows) in enumerate(sides):
            powers = [
                [math.exp(float(memory[other] @ row) / T) for other in (own, *negatives)]
                for own, row, negatives in zip(IDS, rows, self.negatives, strict=True)
            ]
            norm = norms[side] if norms else M * sum(map(sum, powers)) / (B * (N + 1))
            found.append(norm)
            for first, *rest in powers:
                total -= math.log(first / norm / (first / norm + N / M))
                total -= sum(math.log(1 - each / norm / (each / norm + N / M)) for each in rest)
        self.norms = found
        return total / B

    def remember(self, student: Array, teacher: Array = TEACHER) -> None:
        for memory, rows in zip((self.students, self.teachers), self.embedded(student, teacher), strict=True):
            for own, row in zip(IDS, rows, strict=True):
                memory[own] = unit((0.25 * memory[own] + 0.75 * row)[None])[0]


def test_it_tells_the_positive_from_negatives_on_both_sides() -> None:
    loss = contrast()
    slow = ByHand(loss)

    assert value(loss, leaf(STUDENT)).item() == pytest.approx(slow.loss(STUDENT), rel=1e-5)


def test_the_second_step_sees_what_the_first_remembered_and_keeps_its_scale() -> None:
    loss = contrast()
    slow = ByHand(loss)
    value(loss, leaf(STUDENT))
    slow.loss(STUDENT)
    slow.remember(STUDENT)
    other = random(B, 5, seed=5)

    assert value(loss, leaf(other)).item() == pytest.approx(slow.loss(other, norms=slow.norms), rel=1e-5)
    assert loss.contrasts[0].norms.tolist() == pytest.approx(slow.norms, rel=1e-5)


def test_the_gradient_is_that_of_the_sum_with_memories_held_still() -> None:
    loss, student = contrast(), leaf(STUDENT)
    slow = ByHand(loss)
    slow.loss(STUDENT)
    norms = slow.norms

    value(loss, student).backward()

    assert student.grad is not None
    assert_gradient(student.grad, lambda at: slow.loss(at, norms=norms), STUDENT)


def test_only_the_samples_of_the_batch_are_remembered_anew() -> None:
    loss = contrast()
    before = loss.contrasts[0].teachers.clone()

    value(loss, leaf(STUDENT))

    changed = (loss.contrasts[0].teachers != before).any(dim=1)
    assert changed.nonzero().flatten().tolist() == sorted(IDS)


def test_negatives_are_of_other_classes_and_each_is_drawn_as_often() -> None:
    loss = contrast()
    assert loss.others is not None
    torch.manual_seed(0)

    drawn = loss.others.drawn(torch.tensor([3, 10]), 22000)

    of_class_0, of_none = (torch.bincount(row, minlength=M) for row in drawn)
    assert of_class_0.nonzero().flatten().tolist() == [i for i, label in enumerate(LABELS) if label != 0]
    assert of_none.nonzero().flatten().tolist() == [i for i in range(M) if i != 10]
    assert of_none[of_none > 0].float().std() < 120  # the deviation of 22 000 draws over eleven is 43


@pytest.mark.parametrize("labels", [[-1] * M, [2] * M], ids=["no labels", "one class"])
def test_where_classes_tell_nothing_only_the_sample_itself_is_left_out(labels: list[int]) -> None:
    others = contrast(labels=labels).others
    assert others is not None

    drawn = others.drawn(torch.arange(M), 500)

    assert all(set(row.tolist()) == set(range(M)) - {own} for own, row in enumerate(drawn))


def test_few_and_many_negatives_are_calculated_alike() -> None:
    """Few are picked from the memory, many from the product with all of it."""
    from compressor.losses import crd

    memory, rows, picked = torch.randn(40, 4), torch.randn(B, 4), torch.randint(0, 40, (B, 6))
    few, many = crd._similarities(memory, rows, picked), crd._similarities(memory[:20], rows, picked % 20)

    assert torch.allclose(few, (memory[picked] * rows[:, None]).sum(-1), atol=1e-6)
    assert torch.allclose(many, (memory[picked % 20] * rows[:, None]).sum(-1), atol=1e-6)


def test_the_embeddings_are_trained_and_the_memories_are_not() -> None:
    loss = contrast()

    value(loss, leaf(STUDENT)).backward()

    assert {name for name, each in loss.named_parameters() if each.grad is not None} == {
        f"contrasts.0.{side}.{kind}" for side in ("of_student", "of_teacher") for kind in ("weight", "bias")
    }
    assert {"contrasts.0.students", "contrasts.0.teachers", "contrasts.0.norms"} <= set(loss.state_dict())


def test_a_single_sample_cannot_be_contrasted() -> None:
    with pytest.raises(ModelError, match="two training samples"):
        CRD().prepare(Context(torch.tensor([0]), outputs=3))


@pytest.mark.parametrize("option", [{"temperature": 0.0}, {"negatives": 0}, {"width": 0}, {"momentum": 1.0}])
def test_options_out_of_range_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        CRD(**option)  # type: ignore[arg-type]

"""Losses on logits against slow calculations in float64, written from the papers' sums."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from compressor.errors import InputError
from compressor.losses.dist import DIST
from compressor.losses.dkd import DKD
from compressor.losses.kd import KD
from compressor.losses.mse_logits import MseLogits
from compressor.losses.nkd import NKD
from compressor.losses.wttm import WTTM
from compressor.tasks.classification import Classification
from compressor.tasks.multilabel import Multilabel
from compressor.tensors import Batch, Outputs, Rows
from tests.named import mixed_with, named_batch, relabelled

B, K = 6, 5
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])


def logits(seed: int) -> Tensor:
    return torch.randn(B, K, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


STUDENT, TEACHER = logits(0), logits(1)


def batch() -> Batch:
    return named_batch(torch.zeros(B, 1), LABELS, torch.arange(B), -1, Classification())


def value(loss: object, student: Tensor = STUDENT, teacher: Tensor = TEACHER) -> float:
    return float(loss(Outputs.of(student.float()), Outputs.of(teacher.float()), batch()))  # type: ignore[operator]


def softmax(row: list[float], temperature: float = 1.0) -> list[float]:
    powers = [math.exp(z / temperature) for z in row]
    return [power / sum(powers) for power in powers]


def rows(temperature: float = 1.0) -> list[tuple[list[float], list[float], int]]:
    return [
        (softmax(s, temperature), softmax(t, temperature), y)
        for s, t, y in zip(STUDENT.tolist(), TEACHER.tolist(), LABELS.tolist(), strict=True)
    ]


def cross_entropy() -> float:
    return sum(-math.log(q[y]) for q, _, y in rows()) / B


def gradient(loss: object, student: Tensor, teacher: Tensor) -> Tensor:
    leaf = student.float().clone().requires_grad_()
    loss(Outputs.of(leaf), Outputs.of(teacher.float()), batch()).backward()  # type: ignore[operator]
    assert leaf.grad is not None
    return leaf.grad


def test_mse_is_half_the_mean_square_beside_the_labels() -> None:
    expected = (
        0.5
        * sum(
            (s - t) ** 2
            for srow, trow in zip(STUDENT.tolist(), TEACHER.tolist(), strict=True)
            for s, t in zip(srow, trow, strict=True)
        )
        / (B * K)
    )

    assert value(MseLogits(hard=0.0)) == pytest.approx(expected, rel=1e-5)
    assert value(MseLogits(hard=2.0)) == pytest.approx(expected + 2 * cross_entropy(), rel=1e-5)


def test_kd_tends_to_the_squared_distance_as_its_temperature_grows() -> None:
    centred = [each - each.mean(dim=1, keepdim=True) for each in (STUDENT, TEACHER)]

    kd = gradient(KD(temperature=2000.0, alpha=1.0), *centred)
    mse = gradient(MseLogits(hard=0.0), *centred)

    assert torch.allclose(kd, mse, rtol=0.02, atol=1e-4)


def test_dkd_is_its_two_parts() -> None:
    temperature, alpha, beta = 4.0, 0.7, 3.0
    tckd = nckd = 0.0
    for q, p, y in rows(temperature):
        tckd += p[y] * math.log(p[y] / q[y]) + (1 - p[y]) * math.log((1 - p[y]) / (1 - q[y]))
        for k in range(K):
            if k != y:
                mine, theirs = q[k] / (1 - q[y]), p[k] / (1 - p[y])
                nckd += theirs * math.log(theirs / mine)

    found = value(DKD(temperature=temperature, alpha=alpha, beta=beta, hard=0.0))

    assert found == pytest.approx(temperature**2 * (alpha * tckd + beta * nckd) / B, rel=1e-5)


def test_kd_is_dkd_with_the_others_weighted_by_the_teachers_doubt() -> None:
    """Equation 6, sample by sample: KD = TCKD + (1 − p_t) · NCKD."""
    temperature = 2.0
    for row in range(B):
        one = slice(row, row + 1)
        single = named_batch(torch.zeros(1, 1), LABELS[one], torch.arange(1), -1, Classification())
        student, teacher = Outputs.of(STUDENT[one].float()), Outputs.of(TEACHER[one].float())
        doubt = 1 - float((TEACHER[one] / temperature).softmax(1)[0, LABELS[row]])

        both = DKD(temperature=temperature, alpha=1.0, beta=doubt, hard=0.0)(student, teacher, single)
        whole = KD(temperature=temperature, alpha=1.0)(student, teacher, single)

        assert float(both) == pytest.approx(float(whole), rel=1e-4)


def correlation(a: list[float], b: list[float]) -> float:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    above = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    below = sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b)
    return above / math.sqrt(below)


def test_dist_is_one_minus_correlations_of_rows_and_columns() -> None:
    temperature = 4.0
    mine, theirs = ([each[index] for each in rows(temperature)] for index in (0, 1))
    within = sum(1 - correlation(a, b) for a, b in zip(mine, theirs, strict=True)) / B  # type: ignore[arg-type]
    columns = [([row[k] for row in mine], [row[k] for row in theirs]) for k in range(K)]  # type: ignore[index]
    across = sum(1 - correlation(a, b) for a, b in columns) / K

    found = value(DIST(temperature=temperature, beta=2.0, gamma=0.5, hard=0.0))

    assert found == pytest.approx(temperature**2 * (2 * within + 0.5 * across), rel=1e-5)


def test_nkd_is_its_three_sums() -> None:
    temperature, gamma = 2.0, 1.5
    total = 0.0
    for (q, p, y), s, t in zip(rows(), STUDENT.tolist(), TEACHER.tolist(), strict=True):
        total -= p[y] * math.log(q[y])
        mine = softmax([z for k, z in enumerate(s) if k != y], temperature)
        theirs = softmax([z for k, z in enumerate(t) if k != y], temperature)
        total -= gamma * temperature**2 * sum(b * math.log(a) for a, b in zip(mine, theirs, strict=True))

    found = value(NKD(temperature=temperature, gamma=gamma, hard=1.0))

    assert found == pytest.approx(total / B + cross_entropy(), rel=1e-5)


def test_wttm_raises_the_teacher_to_a_power_and_weighs_by_what_that_adds_up_to() -> None:
    temperature = 4.0
    plain = weighted = 0.0
    for q, p, _ in rows():
        powers = [each ** (1 / temperature) for each in p]
        divergence = sum(a / sum(powers) * math.log(a / sum(powers) / b) for a, b in zip(powers, q, strict=True))
        plain += divergence
        weighted += sum(powers) * divergence

    assert value(WTTM(temperature=temperature, weighted=False, hard=0.0)) == pytest.approx(plain / B, rel=1e-5)
    assert value(WTTM(temperature=temperature, beta=3.0, hard=0.0)) == pytest.approx(3 * weighted / B, rel=1e-5)


@pytest.mark.parametrize(
    "loss", [KD(alpha=1.0), DKD(hard=0.0), DIST(hard=0.0), MseLogits(hard=0.0)], ids=lambda loss: type(loss).__name__
)
def test_a_student_that_answers_like_its_teacher_has_nothing_to_learn(loss: object) -> None:
    assert value(loss, TEACHER, TEACHER) == pytest.approx(0.0, abs=1e-4)
    assert gradient(loss, TEACHER, TEACHER).abs().max() < 1e-3


@pytest.mark.parametrize(
    "loss",
    [
        KD(alpha=1.0, standardise=True),
        DKD(hard=0.0, standardise=True),
        DIST(hard=0.0, standardise=True),
        NKD(hard=0.0, standardise=True),
        WTTM(hard=0.0, standardise=True),
        MseLogits(hard=0.0, standardise=True),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_standardised_losses_do_not_see_the_range_of_the_logits(loss: object) -> None:
    assert value(loss, STUDENT * 7 + 2, TEACHER / 3) == pytest.approx(value(loss), rel=1e-3)


@pytest.mark.parametrize("loss", [DKD(hard=0.0), NKD(hard=0.0)], ids=lambda loss: type(loss).__name__)
def test_a_row_without_a_label_has_the_class_that_the_teacher_decides_for(loss: object) -> None:
    some = torch.tensor([0, -1, 2, -7, 4, 0])
    decided = torch.where(some < 0, TEACHER.argmax(dim=1), some)
    outputs = Outputs.of(STUDENT.float()), Outputs.of(TEACHER.float())

    found, expected = (loss(*outputs, relabelled(batch(), labels)) for labels in (some, decided))  # type: ignore[operator]

    assert float(found) == float(expected)
    assert float(found) != value(loss)


@pytest.mark.parametrize("loss", [DKD(hard=0.0), NKD(hard=0.0)], ids=lambda loss: type(loss).__name__)
def test_a_mixed_row_without_a_label_is_the_partners_where_that_has_the_larger_share(loss: object) -> None:
    partner = (LABELS + 1) % K
    unlabelled = torch.full((B,), -1)
    outputs = Outputs.of(STUDENT.float()), Outputs.of(TEACHER.float())
    mixed = mixed_with(partner, torch.full((B,), 0.2))

    found = loss(*outputs, replace(relabelled(batch(), unlabelled), mixed=mixed))  # type: ignore[operator]

    assert float(found) == float(loss(*outputs, relabelled(batch(), partner)))  # type: ignore[operator]


class YesOrNo(Classification):
    """Several labels for a sample: each output is a decision of its own, between no (0) and yes (its logit)."""

    def rows(self, outputs: Mapping[str, torch.Tensor], batch: Batch) -> Rows:
        logits = outputs["logits"]
        both = torch.stack([torch.zeros_like(logits), logits], dim=-1).reshape(-1, 2)
        members = batch.targets.get("members")
        target = None if members is None else members.long().reshape(-1)
        return Rows(both, per_sample=logits.shape[1], target=target)


def divergence_of_sigmoids(temperature: float) -> float:
    total = 0.0
    for s, t in zip(STUDENT.flatten().tolist(), TEACHER.flatten().tolist(), strict=True):
        q, p = (1 / (1 + math.exp(-z / temperature)) for z in (s, t))
        total += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    return temperature**2 * total / (B * K)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_where_each_output_is_a_yes_or_no_kd_is_the_divergence_of_sigmoids(temperature: float) -> None:
    """softmax([0, z] / T) is [1 − sigmoid(z / T), sigmoid(z / T)]."""
    many = named_batch(torch.zeros(B, 1), LABELS, torch.arange(B), -1, YesOrNo())

    found = KD(temperature=temperature, alpha=1.0)(Outputs.of(STUDENT.float()), Outputs.of(TEACHER.float()), many)

    assert float(found) == pytest.approx(divergence_of_sigmoids(temperature), rel=1e-4)


def test_where_each_output_is_a_yes_or_no_dkd_has_no_others_and_reads_a_label_for_each() -> None:
    labels = torch.arange(B * K).reshape(B, K) % 2 == 1
    mixed = mixed_with(~labels, torch.linspace(0, 1, B))
    loss = DKD(temperature=4.0, alpha=1.0, beta=8.0, hard=0.0)
    many = named_batch(torch.zeros(B, 1), labels, torch.arange(B), -1, YesOrNo())

    plain, swapped = (
        loss(Outputs.of(STUDENT.float()), Outputs.of(TEACHER.float()), each)
        for each in (many, replace(many, mixed=mixed))
    )

    assert float(plain) == pytest.approx(divergence_of_sigmoids(4.0), rel=1e-4)
    assert float(swapped) == pytest.approx(float(plain), rel=1e-5)  # between two classes, yes and no weigh alike


@pytest.mark.parametrize("loss", [DKD, NKD, DIST, WTTM, KD])
@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_must_be_above_zero(loss: type, temperature: float) -> None:
    with pytest.raises(InputError, match=r"temperature = .* must be above 0"):
        loss(temperature=temperature)


@pytest.mark.parametrize("loss", [DKD, NKD, DIST, WTTM, MseLogits])
def test_a_weight_must_not_be_negative(loss: type) -> None:
    with pytest.raises(InputError, match="hard = -1"):
        loss(hard=-1)


@pytest.mark.parametrize("loss", [KD, MseLogits, DIST, DKD, NKD, WTTM], ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("classes", [1, 2])
def test_logits_of_fewer_than_three_classes_are_not_standardised(loss, classes):
    """Two of them are ±0.707 whatever they were, and one has no deviation."""
    few = [Outputs.of(each[:, :classes].float()) for each in (STUDENT, TEACHER)]
    with pytest.raises(InputError, match=rf"standardised logits of {classes} classes .* leave out standardise"):
        loss(standardise=True)(*few, relabelled(batch(), torch.zeros_like(LABELS)))


def test_dist_leaves_out_what_two_classes_always_agree_on() -> None:
    student, teacher = Outputs.of(torch.randn(6, 2)), Outputs.of(torch.randn(6, 2))
    batch = named_batch(torch.zeros(6, 1), torch.zeros(6, dtype=torch.int64), torch.arange(6), -1, Classification())

    with_it, without = (DIST(beta=beta, hard=0.0)(student, teacher, batch) for beta in (2.0, 0.0))

    assert with_it == without


def test_dist_compares_each_class_of_a_set_across_the_batch() -> None:
    teacher = torch.tensor([[2.0, -1.0], [-1.0, 2.0], [0.5, 1.0], [-2.0, -0.5]])
    student = teacher * 0.5 + torch.tensor([3.0, -3.0])  # the same order in each class, another level
    batch = named_batch(torch.zeros(4, 1), torch.zeros(4, 2, dtype=torch.bool), torch.arange(4), -1, Multilabel())
    swapped = Outputs.of(student.flip(1))
    loss = DIST(hard=0.0)

    assert loss(Outputs.of(student), Outputs.of(teacher), batch) < 0.5 * loss(swapped, Outputs.of(teacher), batch)


def test_dist_pulls_gently_on_a_student_whose_answers_are_all_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = Outputs.of(torch.randn(16, 10, generator=generator))
    batch = named_batch(torch.zeros(16, 1), torch.zeros(16, dtype=torch.int64), torch.arange(16), -1, Classification())

    def pull(logits: Tensor) -> float:
        logits.requires_grad_()
        DIST(hard=0.0)(Outputs.of(logits), teacher, batch).backward()
        assert logits.grad is not None
        return float(logits.grad.norm())

    assert pull(torch.zeros(16, 10)) < 200 * pull(torch.randn(16, 10, generator=generator))

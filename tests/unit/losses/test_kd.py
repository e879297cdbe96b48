"""Knowledge distillation against its closed forms, in float64 where torch is the one under test."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from compressor.errors import InputError
from compressor.losses.kd import KD
from compressor.tasks.classification import Classification
from compressor.tensors import Batch, Outputs
from tests.named import named_batch

B, K = 7, 5
LABELS = torch.arange(B) % K


def logits(seed: int, *, scale: float = 3.0, dtype: torch.dtype = torch.float32) -> Tensor:
    return (torch.randn(B, K, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale).to(dtype)


def batch() -> Batch:
    return named_batch(torch.zeros(B, 1), LABELS, torch.arange(B), -1, Classification())


def loss(student: Tensor, teacher: Tensor, **options: float) -> Tensor:
    return KD(**options)(Outputs.of(student), Outputs.of(teacher), batch())  # type: ignore[arg-type]


def by_hand(student: Tensor, teacher: Tensor, temperature: float) -> float:
    """T² · KL(teacher_T ‖ student_T), mean over the batch, in float64."""
    p = (teacher.double() / temperature).softmax(1)
    q = (student.double() / temperature).softmax(1)
    return float((p * (p.log() - q.log())).sum(1).mean() * temperature**2)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_with_alpha_one_it_is_the_scaled_divergence(temperature: float) -> None:
    student, teacher = logits(0), logits(1)

    found = float(loss(student, teacher, alpha=1.0, temperature=temperature))

    assert found == pytest.approx(by_hand(student, teacher, temperature), rel=1e-5)


def test_with_alpha_zero_it_is_cross_entropy() -> None:
    student = logits(0)

    assert torch.equal(loss(student, logits(1), alpha=0.0), F.cross_entropy(student, LABELS))


def test_between_them_it_is_their_weighted_sum() -> None:
    student, teacher = logits(0), logits(1)
    parts = by_hand(student, teacher, 2.0), float(F.cross_entropy(student, LABELS))

    assert float(loss(student, teacher, alpha=0.3, temperature=2.0)) == pytest.approx(
        0.3 * parts[0] + 0.7 * parts[1], rel=1e-5
    )


@pytest.mark.parametrize("standardise", [False, True])
def test_kl_is_zero_with_zero_gradient_when_student_equals_teacher(standardise: bool) -> None:
    student = logits(0).requires_grad_()

    soft = loss(student, logits(0), alpha=1.0, standardise=standardise)
    soft.backward()

    assert soft.item() == pytest.approx(0.0, abs=1e-6)
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6


def test_adding_a_number_to_all_logits_of_a_sample_changes_nothing() -> None:
    student, teacher = logits(0), logits(1)

    assert torch.allclose(loss(student + 3, teacher - 2, alpha=1.0), loss(student, teacher, alpha=1.0), rtol=1e-4)


def test_the_gradient_tends_to_the_difference_of_logits_as_the_temperature_grows() -> None:
    """Hinton et al. 2015, equations 2 to 4: zero-mean logits, T² · dC/dz_i → (z_i − v_i) / N."""
    student = logits(0, dtype=torch.float64)
    student = (student - student.mean(1, keepdim=True)).requires_grad_()
    teacher = logits(1, dtype=torch.float64)
    teacher = teacher - teacher.mean(1, keepdim=True)
    limit = (student - teacher).detach() / K / B
    errors = []
    for temperature in (4.0, 40.0, 400.0):
        soft = KD(temperature=temperature).soft_loss(student, teacher)
        (gradient,) = torch.autograd.grad(soft, student)
        errors.append(float((gradient - limit).norm() / limit.norm()))

    assert errors[0] > 5 * errors[1] > 25 * errors[2], errors
    assert errors[2] < 0.02, errors


def test_the_divergence_is_from_the_teacher_to_the_student() -> None:
    sharp, flat = torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 0.0]])
    forward, backward = by_hand(flat, sharp, 1.0), by_hand(sharp, flat, 1.0)

    assert abs(forward - backward) > 1
    assert float(KD(temperature=1.0).soft_loss(flat, sharp)) == pytest.approx(forward, rel=1e-5)


@pytest.mark.parametrize(("scale", "shift"), [(7.0, 0.0), (1.0, -5.0), (0.2, 3.0)])
def test_standardised_it_is_blind_to_scale_and_shift_of_either_side(scale: float, shift: float) -> None:
    student, teacher = logits(0), logits(1)
    plain = loss(student, teacher, alpha=1.0, standardise=True)

    for changed in (
        loss(student * scale + shift, teacher, alpha=1.0, standardise=True),
        loss(student, teacher * scale + shift, alpha=1.0, standardise=True),
    ):
        assert torch.allclose(changed, plain, rtol=1e-4)


def test_standardised_it_divides_by_the_sample_deviation() -> None:
    student, teacher = logits(0), logits(1)
    brought = [(x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True) for x in (student, teacher)]

    found = float(loss(student, teacher, alpha=1.0, standardise=True, temperature=2.0))

    assert found == pytest.approx(by_hand(brought[0], brought[1], 2.0), rel=1e-4)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature: float) -> None:
    with pytest.raises(InputError, match=rf"kd\.temperature: temperature = {temperature} must be above 0"):
        KD(temperature=temperature)


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_an_alpha_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match=rf"kd\.alpha: alpha = {alpha} must lie between 0 and 1"):
        KD(alpha=alpha)


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher = logits(0).requires_grad_(), logits(1).requires_grad_()

    loss(student, teacher).backward()

    assert student.grad is not None
    assert teacher.grad is None


@pytest.mark.parametrize("standardise", [False, True])
def test_the_soft_part_of_narrow_logits_is_computed_in_float32(standardise: bool) -> None:
    student, teacher = logits(0, dtype=torch.bfloat16), logits(1, dtype=torch.bfloat16)

    found = loss(student, teacher, alpha=1.0, standardise=standardise)

    assert found.dtype == torch.float32
    assert torch.equal(found, loss(student.float(), teacher.float(), alpha=1.0, standardise=standardise))


def test_large_logits_stay_finite() -> None:
    student = (logits(0) * 1e4).requires_grad_()

    soft = loss(student, logits(1) * 1e4, alpha=1.0, temperature=1.0)
    soft.backward()

    assert torch.isfinite(soft)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()

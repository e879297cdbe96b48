"""Adversarial losses: the discriminator against one written out apart and trained by torch's Adam, and the game itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compressor import processes
from compressor.errors import InputError
from compressor.losses._contract import Context
from compressor.losses._discriminator import Discriminator
from compressor.losses.adversarial import Adversarial
from compressor.losses.adversarial_features import AdversarialFeatures
from compressor.tasks.classification import Classification
from compressor.tensors import Outputs
from tests.named import named_batch, relabelled
from tests.unit.losses.slow import Array, assert_gradient, batch, leaf, outputs, random

B, K = 6, 3
STUDENT, TEACHER = random(B, K, seed=0), 2 * random(B, K, seed=1) + 1


def discriminator(**options: float) -> Discriminator:
    torch.manual_seed(0)
    chosen = {"hidden": 8, "lr": 0.01, "penalty": 0.5, "warmup": 0, **options}
    return Discriminator(K, **chosen)  # type: ignore[arg-type]


def layers(judge: Discriminator) -> list[Array]:
    return [each.detach().double().numpy().copy() for each in judge.judge.parameters()]


def judged(weights: list[Array], row: Array) -> float:
    """A perceptron with two hidden layers, leaking a fifth."""
    for weight, bias in zip(weights[0:4:2], weights[1:4:2], strict=True):
        row = weight @ row + bias
        row = np.where(row > 0, row, 0.2 * row)
    return float((weights[4] @ row + weights[5])[0])


def softplus(z: float) -> float:
    return math.log1p(math.exp(z))


def slope(weights: list[Array], row: Array) -> Array:
    step = 1e-6
    steps = step * np.eye(len(row))
    return np.array([(judged(weights, row + each) - judged(weights, row - each)) / (2 * step) for each in steps])


def scaled(rows: Array) -> Array:
    return (rows - TEACHER.mean()) / TEACHER.std()


def test_what_it_minimises_is_the_logistic_loss_with_a_penalty_on_its_slope() -> None:
    judge, student, teacher = discriminator(), scaled(STUDENT), scaled(TEACHER)
    weights = layers(judge)
    expected = sum(softplus(-judged(weights, row)) for row in teacher) / B
    expected += sum(softplus(judged(weights, row)) for row in student) / B
    expected += 0.25 * sum(float((slope(weights, row) ** 2).sum()) for row in teacher) / B

    found = judge.loss(dict(judge.judge.named_parameters()), *(torch.from_numpy(e).float() for e in (student, teacher)))

    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_it_learns_as_torchs_adam_would_teach_it() -> None:
    judge = discriminator()
    apart = nn.Sequential(*[type(each)(*arguments) for each, arguments in zip(judge.judge, _arguments(), strict=True)])
    apart.load_state_dict(judge.judge.state_dict())
    optimizer = torch.optim.Adam(apart.parameters(), lr=0.01, betas=(0.5, 0.999))
    student, teacher = (torch.from_numpy(each).float() for each in (STUDENT, TEACHER))
    for _ in range(10):
        judge(student, teacher)
        mine, theirs = (torch.from_numpy(scaled(each)).float() for each in (STUDENT, TEACHER))
        theirs.requires_grad_()
        (gradient,) = torch.autograd.grad(apart(theirs).sum(), theirs, create_graph=True)
        loss = F.softplus(-apart(theirs)).mean() + F.softplus(apart(mine)).mean()
        optimizer.zero_grad()
        (loss + 0.25 * gradient.square().sum(1).mean()).backward()
        optimizer.step()

    for ours, expected in zip(judge.judge.parameters(), apart.parameters(), strict=True):
        assert torch.allclose(ours, expected, atol=2e-5)


def _arguments() -> list[tuple[float, ...]]:
    return [(K, 8), (0.2,), (8, 8), (0.2,), (8, 1)]


def test_the_student_feels_how_far_it_is_from_being_taken_for_the_teacher() -> None:
    judge, student = discriminator(), leaf(STUDENT)

    found = judge(student, torch.from_numpy(TEACHER).float())
    found.backward()

    weights = layers(judge)  # after its step

    def by_hand(at: Array) -> float:
        return sum(softplus(-judged(weights, row)) for row in scaled(at)) / B

    assert found.item() == pytest.approx(by_hand(STUDENT), rel=1e-5)
    assert student.grad is not None
    assert_gradient(student.grad, by_hand, STUDENT)


def test_answers_of_another_range_are_judged_alike() -> None:
    student, teacher = torch.from_numpy(STUDENT).float(), torch.from_numpy(TEACHER).float()

    plain, scaled_up = discriminator()(student, teacher), discriminator()(1000 * student + 7, 1000 * teacher + 7)

    assert scaled_up.item() == pytest.approx(plain.item(), rel=1e-4)


def test_what_the_student_feels_grows_over_the_warm_up() -> None:
    student, teacher = torch.from_numpy(STUDENT).float(), torch.from_numpy(TEACHER).float()
    cold, warm = discriminator(warmup=4), discriminator(warmup=0)

    shares = [cold(student, teacher).item() / warm(student, teacher).item() for _ in range(6)]

    assert shares == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("loss", [Adversarial(), AdversarialFeatures()], ids=lambda each: type(each).__name__)
def test_the_optimiser_of_the_student_never_sees_the_discriminator(loss: nn.Module) -> None:
    ready(loss)

    learned = {name for name, each in loss.named_parameters() if each.requires_grad}

    assert not [name for name in learned if "judge" in name]
    kept = set(loss.state_dict())
    assert {name.rpartition(".")[2] for name in kept} >= {"means", "squares", "steps"}


def ready(loss: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    if isinstance(loss, Adversarial):
        loss.prepare(Context(torch.zeros(4), K))
    if isinstance(loss, AdversarialFeatures):
        loss.settle({"a": (2, 4, 5, 5)}, {"b": (2, 7, 3, 3)})
    return loss


def test_the_loss_on_answers_is_three_parts() -> None:
    loss = ready(Adversarial(beta=0.5, l1=2.0, hard=3.0, warmup=0, hidden=8))
    student, teacher = torch.from_numpy(STUDENT).float(), torch.from_numpy(TEACHER).float()
    fresh = ready(Adversarial(warmup=0, hidden=8))
    assert isinstance(fresh, Adversarial)
    assert fresh.discriminator is not None
    expected = 0.5 * fresh.discriminator(student, teacher) + 2 * (student - teacher).abs().mean()
    expected = expected + 3 * F.cross_entropy(student, torch.zeros(B, dtype=torch.int64))

    found = loss(Outputs.of(student), Outputs.of(teacher), batch(B))

    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_second_lesson_in_a_step_leaves_the_first_one_to_be_learned() -> None:
    """Peers ask several times before the backward pass."""
    judge, student = discriminator(), leaf(STUDENT)
    teacher = torch.from_numpy(TEACHER).float()

    (judge(student, teacher) + judge(student, teacher + 1)).backward()

    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@pytest.mark.slow
def test_answers_come_to_look_like_the_teachers_and_the_game_stays_calm() -> None:
    torch.manual_seed(0)
    loss = ready(Adversarial(beta=1.0, l1=0.0, hard=0.0, hidden=32, lr=2e-3, warmup=20))
    teacher = torch.randn(64, K) * torch.tensor([0.3, 1.0, 2.0]) + torch.tensor([2.0, 0.0, -1.0])
    student = torch.randn(64, K).requires_grad_()
    optimizer = torch.optim.Adam([student], lr=0.03)
    for _ in range(400):
        optimizer.zero_grad()
        loss(Outputs.of(student), Outputs.of(teacher[torch.randperm(64)]), batch(64)).backward()
        optimizer.step()

    assert torch.allclose(student.detach().mean(0), teacher.mean(0), atol=0.35)
    assert student.detach().abs().max() < 3 * teacher.abs().max()


def test_features_are_averaged_over_places_and_projected_where_widths_differ() -> None:
    loss = ready(AdversarialFeatures(scale=2.0, warmup=0, hidden=8))
    assert isinstance(loss, AdversarialFeatures)
    mine, theirs = torch.randn(B, 4, 5, 5), torch.randn(B, 7, 3, 3)
    twin = ready(AdversarialFeatures(scale=2.0, warmup=0, hidden=8))
    assert isinstance(twin, AdversarialFeatures)
    projected = twin.projectors[0](mine.mean(dim=(2, 3)))
    expected = 2 * twin.discriminators[0](projected, theirs.mean(dim=(2, 3)))

    found = loss(outputs({"a": mine}, B), outputs({"b": theirs}, B), batch(B))

    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    assert {name for name, each in loss.named_parameters() if each.requires_grad} == {
        "projectors.0.weight",
        "projectors.0.bias",
    }


def test_samples_without_labels_are_taken_where_labels_weigh_nothing() -> None:
    loss = ready(Adversarial(hard=0.0))
    unlabelled = relabelled(batch(B), torch.full((B,), -1))

    found: Tensor = loss(Outputs.of(leaf(STUDENT)), Outputs.of(torch.from_numpy(TEACHER).float()), unlabelled)

    assert torch.isfinite(found)


@pytest.mark.parametrize("loss", [Adversarial, AdversarialFeatures])
@pytest.mark.parametrize("option", [{"lr": 0.0}, {"hidden": 0}, {"penalty": -1.0}, {"warmup": -1}])
def test_options_out_of_range_are_refused(loss: type[nn.Module], option: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        loss(**option)


def test_several_processes_cannot_keep_step_over_a_part_of_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "world_size", lambda: 2)
    batch = named_batch(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64), torch.arange(4), -1, Classification())
    loss = Adversarial()
    loss.prepare(Context(torch.zeros(4, dtype=torch.int64), 3))
    some = Outputs.of(torch.zeros(2, 3))

    with pytest.raises(InputError, match="the teacher has no answer for some samples"):
        loss(some, some, batch.rows(slice(0, 2)))

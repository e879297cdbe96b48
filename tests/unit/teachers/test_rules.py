"""Each teacher's formula against one written out slowly, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compressor import registry
from compressor.data.samples import ArraySamples
from compressor.errors import InputError, ModelError
from compressor.models.network import Network
from compressor.models.normalisation import Normalisation
from compressor.tasks.classification import Classification
from compressor.tensors import Batch, Outputs
from tests.named import class_samples, named_batch

B, K = 5, 4


class Says(nn.Module):
    """A network that always gives the same logits."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.logits[: len(inputs)]


def logits(*shape: int, seed: int) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch(labels: Tensor | None = None) -> Batch:
    wanted = torch.arange(B) % K if labels is None else labels
    return named_batch(torch.zeros(B, 1, 2, 2), wanted, torch.arange(B), 0, Classification())


def teacher(name: str, *given: object, **options: object):  # type: ignore[no-untyped-def]
    return registry.find("teachers", name).load()(*given, **options)


def answers_of(name: str, *given: object, **options: object) -> Tensor:
    return teacher(name, *given, **options).answer(batch()).logits.double()


TWO = (logits(B, K, seed=1), logits(B, K, seed=2))


def test_an_ensemble_says_the_mean_of_the_probabilities() -> None:
    expected = (0.25 * TWO[0].double().softmax(1) + 0.75 * TWO[1].double().softmax(1)).log()

    found = answers_of("ensemble", [Says(each) for each in TWO], weights=(1.0, 3.0))

    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_an_ensemble_by_logits_says_their_mean() -> None:
    found = answers_of("ensemble", [Says(each) for each in TWO], by="logits")

    torch.testing.assert_close(found, (TWO[0] + TWO[1]).double() / 2, atol=1e-6, rtol=1e-6)


def test_an_ensemble_by_confidence_listens_to_the_surer_one_of_each_sample() -> None:
    found = answers_of("ensemble", [Says(each) for each in TWO], by="confidence").exp()

    for row in range(B):
        p = [each[row].double().softmax(0) for each in TWO]
        entropy = [float(-(q * q.log()).sum()) for q in p]
        total = sum(math.exp(h) for h in entropy)
        weights = [1 - math.exp(h) / total for h in entropy]  # equation 3 for two: they add up to one
        torch.testing.assert_close(found[row], weights[0] * p[0] + weights[1] * p[1], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"), [({"by": "vote"}, "by = 'vote'"), ({"weights": (1.0,)}, "no weights of 2")]
)
def test_an_ensemble_refuses_what_makes_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        teacher("ensemble", [Says(each) for each in TWO], **options)


def test_a_union_of_teachers_without_a_common_class_is_one_softmax_over_both() -> None:
    known, classes = (("b", "d"), ("a", "c")), ("a", "b", "c", "d")
    said = logits(B, 2, seed=3), logits(B, 2, seed=4)
    expected = torch.stack([said[1][:, 0], said[0][:, 0], said[1][:, 1], said[0][:, 1]], dim=1).double().log_softmax(1)

    found = answers_of("union", [Says(each) for each in said], known, classes)

    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("by", "first"), [("even", 0.5), ("confidence", None)])
def test_a_union_shares_the_whole_as_asked(by: str, first: float | None) -> None:
    said = logits(B, 2, seed=3), logits(B, 2, seed=4)
    found = answers_of(
        "union", [Says(each) for each in said], (("a", "b"), ("c", "d")), ("a", "b", "c", "d"), by=by
    ).exp()

    for row in range(B):
        p = [each[row].double().softmax(0) for each in said]
        surety = [1 + float((q * q.log()).sum()) / math.log(2) for q in p]
        share = first if first is not None else surety[0] / sum(surety)
        torch.testing.assert_close(found[row], torch.cat([share * p[0], (1 - share) * p[1]]), atol=1e-6, rtol=1e-5)


def test_a_union_of_teachers_that_share_classes_agrees_with_each_as_well_as_can_be() -> None:
    known, classes = ((0, 1, 2), (2, 3, 1)), ("a", "b", "c", "d")
    said = logits(B, 3, seed=5), logits(B, 3, seed=6)
    found = answers_of("union", [Says(each) for each in said], [[classes[i] for i in each] for each in known], classes)

    z = torch.zeros(B, K, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([z], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def cross_entropy(q_log: Tensor) -> Tensor:  # equation 6: each renormalised to the classes that a teacher knows
        return sum(  # type: ignore[return-value]
            -(each.double().softmax(1) * q_log[:, list(index)].log_softmax(1)).sum()
            for each, index in zip(said, known, strict=True)
        )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(z)
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    assert float(cross_entropy(found)) == pytest.approx(float(cross_entropy(z.detach())), abs=2e-3)


@pytest.mark.parametrize(
    ("known", "message"), [((("a",), ("b",)), "no teacher knows 'c'"), ((("a", "b"), ("c", "x")), "no class 'x'")]
)
def test_a_union_needs_every_class_known_and_no_other(known: tuple[tuple[str, ...], ...], message: str) -> None:
    said = [Says(logits(B, len(each), seed=1)) for each in known]
    with pytest.raises(InputError, match=message):
        teacher("union", said, known, ("a", "b", "c"))


def test_peers_learn_from_one_another_each_as_much_as_from_all_others_together() -> None:
    peers = [Network(Says(logits(B, K, seed=seed)), Normalisation("none", (), ())) for seed in (7, 8)]
    made, own = teacher("peers", peers), logits(B, K, seed=9).requires_grad_()

    lessons = made.lessons(batch(), Outputs.of(own))

    of_student = [lesson for lesson in lessons if lesson.name == ""]
    assert [lesson.weight for lesson in of_student] == [0.5, 0.5]
    assert [
        torch.equal(lesson.teacher.logits, peer(batch().inputs)) for lesson, peer in zip(of_student, peers, strict=True)
    ]
    assert sum(lesson.weight for lesson in lessons) == 3.0
    assert all(lesson.student.logits.requires_grad and not lesson.teacher.logits.requires_grad for lesson in lessons)


def test_the_partner_of_a_sample_has_its_class_and_is_another_in_each_epoch() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2, -1])
    made = teacher("same_class", _labelled(labels))
    everybody = np.arange(8)

    drawn = np.stack([made.pairing()(everybody, epoch) for epoch in range(40)])

    assert (labels[drawn] == labels).all()
    assert (drawn[:, :6] != everybody[:6]).all()
    assert (drawn[:, 6:] == everybody[6:]).all()  # alone in its class, and without a label
    assert {frozenset(drawn[:, 0])} == {frozenset({1, 2, 3})}
    assert (made.pairing()(everybody[::-1], 3) == drawn[3][::-1]).all()


def _labelled(labels: np.ndarray) -> ArraySamples:  # type: ignore[type-arg]
    return class_samples(np.zeros((len(labels), 2), np.float32), labels)


def test_a_mean_teacher_is_the_average_that_equation_1_says() -> None:
    student = Network(nn.Linear(1, 2), Normalisation("none", (), ()))
    made = teacher("ema", decay=0.9)
    made.meet(student, torch.zeros(2, 1))
    expected = student.module.weight.detach().double().clone()
    for step in range(30):
        with torch.no_grad():
            student.module.weight.add_(0.1)
        made.after_step(step=step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * student.module.weight.detach().double()

    torch.testing.assert_close(made.parts.module.weight.double(), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0])
def test_a_mean_teacher_that_never_or_always_forgets_is_refused(decay: float) -> None:
    with pytest.raises(InputError, match="must lie between 0 and 1"):
        teacher("ema", decay=decay)


def test_a_network_of_one_stage_has_no_depth_to_learn_from() -> None:
    student = Network(
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        Normalisation("none", (), ()),
    )

    with pytest.raises(ModelError, match="no shallower stage"):
        teacher("own_depth").meet(student, torch.zeros(2, 1, 8, 8))


def test_no_generation_is_refused() -> None:
    with pytest.raises(InputError, match="generations = 0"):
        teacher("born_again", Says(TWO[0]), generations=0)


def descended(general: Tensor, told: list[tuple[list[int], Tensor]]) -> Tensor:
    """q of Hinton et al. 2015, equation 5, for one sample by descent on its logits, as they do it (here with L-BFGS)."""
    p_g = general.double().softmax(0)
    z = general.double().clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [z], max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def cross_entropies() -> Tensor:
        optimizer.zero_grad()
        log_q = z.log_softmax(0)
        total = -(p_g * log_q).sum()
        for cluster, answer in told:
            p_m = answer.double().softmax(0)
            outside = [each for each in range(len(p_g)) if each not in cluster]
            total = total - (p_m[:-1] * log_q[cluster]).sum() - p_m[-1] * log_q[outside].logsumexp(0)
        total.backward()
        return total

    optimizer.step(cross_entropies)
    return z.detach().log_softmax(0)


@pytest.mark.parametrize(
    ("clusters", "rounds", "tolerance"),
    [
        (((0, 2), (3, 4)), 1, 1e-6),  # one specialist at most: the first round is at the minimum
        (((0, 1, 2), (1, 2, 3)), 50, 1e-6),
        (((0, 1, 2, 3), (1, 2, 3, 4, 5), (0, 2, 4)), 50, 5e-4),  # two have a say for each sample
    ],
)
def test_specialists_answer_what_minimises_equation_5(
    clusters: tuple[tuple[int, ...], ...], rounds: int, tolerance: float
) -> None:
    general = 1.5 * logits(B, 6, seed=3)
    answers = [logits(B, len(each) + 1, seed=4 + number) for number, each in enumerate(clusters)]
    expected = []
    for row in range(B):
        first = int(general[row].argmax())
        active = [(list(c), a[row]) for c, a in zip(clusters, answers, strict=True) if first in c]
        expected.append(descended(general[row], active))

    made = teacher("specialists", [Says(general), *map(Says, answers)], clusters=clusters)

    difference = (made.answer(batch()).logits.double() - torch.stack(expected)).abs()
    assert made.network.rule.rounds == rounds
    assert difference.max() < tolerance, f"max {difference.max():.2e}, mean {difference.mean():.2e}"


def test_a_sample_of_no_cluster_is_answered_by_the_generalist() -> None:
    general = torch.tensor([[0.0, 1.0, 5.0, 2.0]])

    found = answers_of("specialists", [Says(general), Says(logits(1, 3, seed=1))], clusters=((0, 1),))

    torch.testing.assert_close(found, general.double().log_softmax(1), atol=1e-6, rtol=1e-6)


def test_the_dustbin_makes_up_for_oversampling() -> None:
    general, answer = torch.tensor([[3.0, 1.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.5, 2.0]])
    raised = answer + torch.tensor([0.0, 0.0, math.log(4.0)])

    found = answers_of("specialists", [Says(general), Says(answer)], clusters=((0, 1),), oversampled=(4.0,))

    expected = answers_of("specialists", [Says(general), Says(raised)], clusters=((0, 1),))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)

"""What every member of `losses` must do; a new file joins because it exists."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from compressor import registry
from compressor.batch import Batch, Mixed, Outputs
from compressor.errors import InputError, ModelError
from compressor.losses._features import FeatureLoss
from compressor.tasks.classification import Classification

MEMBERS = registry.members("losses")
NAMES = [member.name for member in MEMBERS]
ON_FEATURES = [member for member in MEMBERS if any(option.name == "pairs" for option in member.options)]
ON_LOGITS = [member for member in MEMBERS if member not in ON_FEATURES]
B, K = 8, 5
SHAPES = {"student": {"a": (2, 4, 8, 8), "b": (2, 6, 4, 4)}, "teacher": {"x": (2, 8, 8, 8), "y": (2, 12, 4, 4)}}


def tensor(*shape: int, seed: int, scale: float = 2.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def made(member: registry.Member) -> object:
    torch.manual_seed(0)
    loss = member.load()()
    if isinstance(loss, FeatureLoss):
        loss.settle(SHAPES["student"], SHAPES["teacher"])
    return loss


def answer(who: str, *, seed: int, dtype: torch.dtype = torch.float32, scale: float = 2.0) -> Outputs:
    features = {
        path: tensor(B, *shape[1:], seed=seed + number, scale=scale).to(dtype)
        for number, (path, shape) in enumerate(SHAPES[who].items(), start=1)
    }
    return Outputs(tensor(B, K, seed=seed, scale=scale).to(dtype), features)


def batch(*, mixed: Mixed | None = None) -> Batch:
    return Batch(torch.zeros(B, 1), torch.arange(B) % K, torch.arange(B), -1, Classification(), mixed)


def requires_grad(outputs: Outputs) -> list[Tensor]:
    leaves = [outputs.logits, *outputs.features.values()]
    return [leaf.requires_grad_() for leaf in leaves]


@pytest.fixture(params=MEMBERS, ids=NAMES)
def member(request: pytest.FixtureRequest) -> registry.Member:
    found: registry.Member = request.param
    return found


@pytest.fixture
def loss(member: registry.Member):  # type: ignore[no-untyped-def]
    return made(member)


def test_there_are_both_kinds() -> None:
    assert {"kd", "dkd", "dist", "nkd", "wttm", "mse_logits", "hard"} <= {member.name for member in ON_LOGITS}
    assert {"fitnet", "attention_transfer", "similarity_preserving", "rkd", "pkt"} <= {m.name for m in ON_FEATURES}


def test_it_cites_its_paper_and_explains_its_options(member: registry.Member) -> None:
    source = member.file.read_text(encoding="utf-8")

    assert member.summary.endswith(".")
    assert all(option.help for option in member.options)
    if member.name != "hard":
        assert re.search(r"arXiv \d{4}\.\d{4,5}", source), "no paper"
        assert "equation" in source or "section" in source


def test_it_is_a_finite_scalar(loss) -> None:  # type: ignore[no-untyped-def]
    found = loss(answer("student", seed=0), answer("teacher", seed=10), batch())

    assert found.shape == ()
    assert torch.isfinite(found)


def test_gradients_reach_the_student_and_never_the_teacher(loss) -> None:  # type: ignore[no-untyped-def]
    student, teacher = answer("student", seed=0), answer("teacher", seed=10)
    mine, theirs = requires_grad(student), requires_grad(teacher)

    loss(student, teacher, batch()).backward()

    reached = [leaf for leaf in mine if leaf.grad is not None and bool((leaf.grad != 0).any())]
    assert reached
    assert all(torch.isfinite(leaf.grad).all() for leaf in reached)  # type: ignore[arg-type]
    assert all(leaf.grad is None for leaf in theirs)


def test_half_precision_answers_give_about_the_same_number_in_full(loss) -> None:  # type: ignore[no-untyped-def]
    full = loss(answer("student", seed=0), answer("teacher", seed=10), batch())
    half = loss(
        answer("student", seed=0, dtype=torch.bfloat16), answer("teacher", seed=10, dtype=torch.bfloat16), batch()
    )

    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(full.item(), rel=0.05, abs=0.02)


def test_very_large_answers_stay_finite(loss) -> None:  # type: ignore[no-untyped-def]
    student = answer("student", seed=0, scale=1e4)
    leaves = requires_grad(student)

    found = loss(student, answer("teacher", seed=10, scale=1e4), batch())
    found.backward()

    assert torch.isfinite(found)
    assert all(leaf.grad is None or bool(torch.isfinite(leaf.grad).all()) for leaf in leaves)


def test_answers_that_are_all_alike_stay_finite(loss) -> None:  # type: ignore[no-untyped-def]
    """What a network gives whose last layer begins with zeros."""
    flat = Outputs(torch.zeros(B, K), {path: torch.zeros(B, *s[1:]) for path, s in SHAPES["student"].items()})
    leaves = requires_grad(flat)

    loss(flat, answer("teacher", seed=10), batch()).backward()

    assert all(leaf.grad is None or bool(torch.isfinite(leaf.grad).all()) for leaf in leaves)


def test_mixed_samples_are_taken(loss) -> None:  # type: ignore[no-untyped-def]
    mixed = Mixed(torch.arange(B).roll(1) % K, torch.full((B,), 0.7))

    assert torch.isfinite(loss(answer("student", seed=0), answer("teacher", seed=10), batch(mixed=mixed)))


@pytest.mark.parametrize("member", ON_LOGITS, ids=lambda member: member.name)
def test_a_unit_that_is_not_a_module_has_no_state(member: registry.Member) -> None:
    assert not isinstance(made(member), nn.Module)


@pytest.mark.parametrize("member", ON_FEATURES, ids=lambda member: member.name)
def test_auto_pairs_the_deepest_stages_and_says_which(member: registry.Member) -> None:
    loss = member.load()()

    told = loss.settle(SHAPES["student"], SHAPES["teacher"])

    assert loss.pairs[-1] == ("b", "y")
    assert "b 6×4×4 ← y 12×4×4" in told
    assert len(loss.pairs) <= loss.most_pairs


@pytest.mark.parametrize("member", ON_FEATURES, ids=lambda member: member.name)
def test_stated_pairs_are_taken_and_unknown_ones_refused(member: registry.Member) -> None:
    loss = member.load()(pairs=[["a", "x"]])
    loss.settle(SHAPES["student"], SHAPES["teacher"])
    assert loss.pairs == (("a", "x"),)

    with pytest.raises(ModelError, match="no features at 'z' of the teacher"):
        member.load()(pairs=[["a", "z"]]).settle(SHAPES["student"], SHAPES["teacher"])


@pytest.mark.parametrize("member", ON_FEATURES, ids=lambda member: member.name)
@pytest.mark.parametrize("pairs", ["layer1", [], [["a"]], [["a", 3]]])
def test_pairs_that_are_none_are_refused_at_once(member: registry.Member, pairs: object) -> None:
    with pytest.raises(InputError, match="is no list of pairs"):
        member.load()(pairs=pairs)


@pytest.mark.parametrize("member", ON_FEATURES, ids=lambda member: member.name)
def test_tokens_of_transformers_are_compared_too(member: registry.Member) -> None:
    torch.manual_seed(0)
    loss = member.load()()
    loss.settle({"blocks.0": (2, 17, 8), "blocks.1": (2, 17, 8)}, {"blocks.0": (2, 17, 16), "blocks.5": (2, 17, 16)})
    features = {path: tensor(B, 17, 8, seed=number) for number, (path, _) in enumerate(loss.pairs)}
    theirs = {path: tensor(B, 17, 16, seed=9 + number) for number, (_, path) in enumerate(loss.pairs)}

    found = loss(Outputs(torch.zeros(B, K), features), Outputs(torch.zeros(B, K), theirs), batch())

    assert torch.isfinite(found)


@pytest.mark.parametrize("member", ON_FEATURES, ids=lambda member: member.name)
def test_what_it_learns_begins_the_same_for_the_same_seed(member: registry.Member) -> None:
    first, second = made(member), made(member)
    assert isinstance(first, nn.Module)
    assert isinstance(second, nn.Module)

    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))

"""What every member of `losses` must do; a new file joins because it exists."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load as safetensors_load
from safetensors.torch import save as safetensors_save
from torch import Tensor, nn

from compressor import registry
from compressor.errors import InputError, ModelError
from compressor.losses._attention import AttentionLoss
from compressor.losses._contract import Context, Prepared
from compressor.losses._features import FeatureLoss
from compressor.tasks.classification import Classification
from compressor.tensors import Batch, Mixed, Outputs
from tests.named import mixed_with, named_batch, relabelled

MEMBERS = registry.members("losses")
NAMES = [member.name for member in MEMBERS]
ON_FEATURES = [member for member in MEMBERS if any(option.name == "pairs" for option in member.options)]
ON_LOGITS = [member for member in MEMBERS if member not in ON_FEATURES]
ON_ATTENTION = [member for member in ON_FEATURES if issubclass(member.load(), AttentionLoss)]
ON_MAPS = [member for member in ON_FEATURES if member not in ON_ATTENTION]
B, K = 8, 5


@dataclass(frozen=True)
class World:
    """Two networks: what their modules give for two samples, which of them belong together, and their attention heads."""

    student: dict[str, tuple[int, ...]]
    teacher: dict[str, tuple[int, ...]]
    deepest: tuple[str, str]
    told: str
    stated: tuple[str, str]
    heads: int = 2

    @property
    def context(self) -> Context:
        own, theirs = (dict.fromkeys(shapes, self.heads) for shapes in (self.student, self.teacher))
        return Context(torch.arange(B) % K, K, own, theirs)


def transformer(*, blocks: int, width: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for index in range(blocks):
        found |= {f"blocks.{index}.attn.qkv": (2, 17, 3 * width), f"blocks.{index}.attn": (2, 17, width)}
        found |= {f"blocks.{index}": (2, 17, width)}
    return found


CONVOLUTIONS = World(
    {"a": (2, 4, 8, 8), "b": (2, 6, 4, 4)},
    {"x": (2, 8, 8, 8), "y": (2, 12, 4, 4)},
    ("b", "y"),
    "b 6×4×4 ← y 12×4×4",
    ("a", "x"),
)
TRANSFORMERS = World(
    transformer(blocks=2, width=8),
    transformer(blocks=4, width=16),
    ("blocks.1.attn.qkv", "blocks.3.attn.qkv"),
    "blocks.1.attn.qkv 17×24 ← blocks.3.attn.qkv 17×48",
    ("blocks.0.attn.qkv", "blocks.2.attn.qkv"),
)


def world_of(member: registry.Member) -> World:
    return TRANSFORMERS if member in ON_ATTENTION else CONVOLUTIONS


def tensor(*shape: int, seed: int, scale: float = 2.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def settled(loss: object, world: World) -> str:
    """Tell a loss what it is to know before training; the pairs it chose."""
    torch.manual_seed(0)
    if isinstance(loss, Prepared):
        loss.prepare(world.context)
    return loss.settle(world.student, world.teacher) if isinstance(loss, FeatureLoss) else ""


def made(member: registry.Member) -> object:
    loss = member.load()()
    settled(loss, world_of(member))
    return loss


def answer(who: str, *, seed: int, dtype: torch.dtype = torch.float32, scale: float = 2.0, world: World) -> Outputs:
    shapes: dict[str, tuple[int, ...]] = getattr(world, who)
    features = {
        path: tensor(B, *shape[1:], seed=seed + number, scale=scale).to(dtype)
        for number, (path, shape) in enumerate(shapes.items(), start=1)
    }
    return Outputs.of(tensor(B, K, seed=seed, scale=scale).to(dtype), features)


def batch(*, mixed: Mixed | None = None) -> Batch:
    return named_batch(torch.zeros(B, 1), torch.arange(B) % K, torch.arange(B), -1, Classification(), mixed)


def requires_grad(outputs: Outputs) -> list[Tensor]:
    leaves = [outputs.logits, *outputs.features.values()]
    return [leaf.requires_grad_() for leaf in leaves]


@pytest.fixture(params=MEMBERS, ids=NAMES)
def member(request: pytest.FixtureRequest) -> registry.Member:
    found: registry.Member = request.param
    return found


@pytest.fixture
def world(member: registry.Member) -> World:
    return world_of(member)


@pytest.fixture
def loss(member: registry.Member):  # type: ignore[no-untyped-def]
    return made(member)


def test_there_are_both_kinds() -> None:
    assert {"kd", "dkd", "dist", "nkd", "wttm", "mse_logits", "hard"} <= {member.name for member in ON_LOGITS}
    assert {"fitnet", "attention_transfer", "similarity_preserving", "rkd", "pkt"} <= {m.name for m in ON_MAPS}
    assert {"review", "crd", "emd", "adversarial_features"} <= {m.name for m in ON_MAPS}
    assert {"attention_maps", "minilm"} <= {m.name for m in ON_ATTENTION}


def test_it_cites_its_paper_and_explains_its_options(member: registry.Member) -> None:
    source = member.file.read_text(encoding="utf-8")

    assert member.summary.endswith(".")
    assert all(option.help for option in member.options)
    if member.name != "hard":
        assert re.search(r"arXiv \d{4}\.\d{4,5}", source), "no paper"
        assert "equation" in source or "section" in source


def test_it_is_a_finite_scalar(loss, world: World) -> None:  # type: ignore[no-untyped-def]
    found = loss(answer("student", seed=0, world=world), answer("teacher", seed=10, world=world), batch())

    assert found.shape == ()
    assert torch.isfinite(found)


def test_gradients_reach_the_student_and_never_the_teacher(loss, world: World) -> None:  # type: ignore[no-untyped-def]
    student, teacher = answer("student", seed=0, world=world), answer("teacher", seed=10, world=world)
    mine, theirs = requires_grad(student), requires_grad(teacher)

    loss(student, teacher, batch()).backward()

    reached = [leaf for leaf in mine if leaf.grad is not None and bool((leaf.grad != 0).any())]
    assert reached
    assert all(torch.isfinite(leaf.grad).all() for leaf in reached)  # type: ignore[arg-type]
    assert all(leaf.grad is None for leaf in theirs)


def test_half_precision_answers_give_about_the_same_number_in_full(loss, world: World) -> None:  # type: ignore[no-untyped-def]
    def found(dtype: torch.dtype) -> Tensor:
        student, teacher = (
            answer(who, seed=seed, dtype=dtype, world=world) for who, seed in (("student", 0), ("teacher", 10))
        )
        value: Tensor = loss(student, teacher, batch())
        return value

    full, half = found(torch.float32), found(torch.bfloat16)

    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(full.item(), rel=0.05, abs=0.02)


def test_very_large_answers_stay_finite(loss, world: World) -> None:  # type: ignore[no-untyped-def]
    student = answer("student", seed=0, scale=1e4, world=world)
    leaves = requires_grad(student)

    found = loss(student, answer("teacher", seed=10, scale=1e4, world=world), batch())
    found.backward()

    assert torch.isfinite(found)
    assert all(leaf.grad is None or bool(torch.isfinite(leaf.grad).all()) for leaf in leaves)


def test_answers_that_are_all_alike_stay_finite(loss, world: World) -> None:  # type: ignore[no-untyped-def]
    """What a network gives whose last layer begins with zeros."""
    flat = Outputs.of(torch.zeros(B, K), {path: torch.zeros(B, *s[1:]) for path, s in world.student.items()})
    leaves = requires_grad(flat)

    loss(flat, answer("teacher", seed=10, world=world), batch()).backward()

    assert all(leaf.grad is None or bool(torch.isfinite(leaf.grad).all()) for leaf in leaves)


def test_mixed_samples_are_taken(loss, world: World) -> None:  # type: ignore[no-untyped-def]
    mixed = batch(mixed=mixed_with(torch.arange(B).roll(1) % K, torch.full((B,), 0.7)))

    found = loss(answer("student", seed=0, world=world), answer("teacher", seed=10, world=world), mixed)

    assert torch.isfinite(found)


@pytest.mark.parametrize("member", ON_LOGITS, ids=lambda member: member.name)
def test_one_on_logits_has_state_only_if_it_is_told_about_the_run(member: registry.Member) -> None:
    loss = made(member)

    assert isinstance(loss, nn.Module) == isinstance(loss, Prepared)


def test_what_it_keeps_is_enough_to_go_on_bit_for_bit(member: registry.Member, world: World) -> None:
    """State that survives safetensors: tensors alone, of shapes that a fresh loss has too."""
    whole, resumed = made(member), made(member)
    if not isinstance(whole, nn.Module):
        return
    for seed in (0, 20):
        step(whole, world, seed=seed)
    kept = safetensors_load(safetensors_save({name: each.clone() for name, each in whole.state_dict().items()}))

    resumed.load_state_dict(kept)  # type: ignore[attr-defined]

    assert torch.equal(step(whole, world, seed=40), step(resumed, world, seed=40))
    again = resumed.state_dict()  # type: ignore[attr-defined]
    assert all(torch.equal(each, again[name]) for name, each in whole.state_dict().items())


def step(loss, world: World, *, seed: int) -> Tensor:  # type: ignore[no-untyped-def]
    torch.manual_seed(seed)
    found: Tensor = loss(
        answer("student", seed=seed, world=world), answer("teacher", seed=seed + 7, world=world), batch()
    )
    return found


def test_an_option_that_may_change_over_the_run_does_change_something(member: registry.Member, world: World) -> None:
    """A ramp sets the attribute of an option that has one, so what is built from an option once must not be kept as one."""
    for option in member.options:
        loss, changed = made(member), made(member)
        given = getattr(loss, option.name, None)
        if isinstance(given, int | float) and not isinstance(given, bool):
            setattr(changed, option.name, 0.5 * given + 0.07)
            assert [step(loss, world, seed=s) for s in (0, 1)] != [step(changed, world, seed=s) for s in (0, 1)], option


@pytest.mark.parametrize("member", ON_LOGITS, ids=lambda member: member.name)
def test_rows_without_a_label_are_learned_from_the_teacher(member: registry.Member) -> None:
    takes = {option.name for option in member.options}
    options = {"hard": 0.0} if "hard" in takes else {"alpha": 1.0}
    if not takes & set(options):
        assert member.name == "hard"
        return
    loss = member.load()(**options)
    settled(loss, CONVOLUTIONS)
    student = answer("student", seed=0, world=CONVOLUTIONS)
    requires_grad(student)
    unlabelled = relabelled(batch(), torch.full((B,), -1))

    loss(student, answer("teacher", seed=10, world=CONVOLUTIONS), unlabelled).backward()

    assert student.logits.grad is not None
    assert bool((student.logits.grad != 0).any(dim=1).all())
    assert torch.isfinite(student.logits.grad).all()


@pytest.mark.parametrize("member", ON_FEATURES, ids=lambda member: member.name)
def test_auto_pairs_the_deepest_stages_and_says_which(member: registry.Member) -> None:
    loss, world = member.load()(), world_of(member)

    told = settled(loss, world)

    assert loss.pairs[-1] == world.deepest
    assert world.told in told
    assert len(loss.pairs) <= loss.most_pairs
    assert set(loss.pairs) <= set(loss.reads)


@pytest.mark.parametrize("member", ON_FEATURES, ids=lambda member: member.name)
def test_stated_pairs_are_taken_and_unknown_ones_refused(member: registry.Member) -> None:
    world = world_of(member)
    loss = member.load()(pairs=[list(world.stated)])
    settled(loss, world)
    assert loss.pairs == (world.stated,)

    with pytest.raises(ModelError, match="no features at 'z' of the teacher"):
        settled(member.load()(pairs=[[world.stated[0], "z"]]), world)


@pytest.mark.parametrize("member", ON_FEATURES, ids=lambda member: member.name)
@pytest.mark.parametrize("pairs", ["layer1", [], [["a"]], [["a", 3]]])
def test_pairs_that_are_none_are_refused_at_once(member: registry.Member, pairs: object) -> None:
    with pytest.raises(InputError, match="is no list of pairs"):
        member.load()(pairs=pairs)


@pytest.mark.parametrize("member", ON_FEATURES, ids=lambda member: member.name)
def test_tokens_of_transformers_are_compared_too(member: registry.Member) -> None:
    loss = member.load()()
    settled(loss, TRANSFORMERS)

    student = answer("student", seed=0, world=TRANSFORMERS)
    found = loss(student, answer("teacher", seed=10, world=TRANSFORMERS), batch())

    assert torch.isfinite(found)
    assert all(mine.startswith("blocks.") for mine, _ in loss.pairs)


@pytest.mark.parametrize("member", ON_FEATURES, ids=lambda member: member.name)
def test_what_it_learns_begins_the_same_for_the_same_seed(member: registry.Member) -> None:
    first, second = made(member), made(member)
    assert isinstance(first, nn.Module)
    assert isinstance(second, nn.Module)

    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))

"""Losses on attention against loops over heads and tokens in float64, and on real transformers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from compressor.errors import InputError, ModelError
from compressor.losses._attention import AttentionLoss, block_of, products, split
from compressor.losses._contract import Context
from compressor.losses.attention_maps import AttentionMaps
from compressor.losses.minilm import MiniLM
from compressor.models.taps import attention_heads, feature_shapes, tapped
from compressor.tensors import Outputs
from tests.unit.losses.slow import Array, assert_gradient, batch, leaf, outputs, random

B, L = 2, 3
PATH = "blocks.0.attn.qkv"


def cut(qkv: Array, heads: int) -> list[list[list[Array]]]:
    """Q, K and V of each head of each sample, `[3][B][h]` of `[L, d]`."""
    width = qkv.shape[-1] // 3
    each = width // heads
    return [
        [[sample[:, part * width + h * each : part * width + (h + 1) * each] for h in range(heads)] for sample in qkv]
        for part in range(3)
    ]


def scores(one: Array, other: Array) -> list[list[float]]:
    return [[float(sum(a * b for a, b in zip(q, k, strict=True))) / math.sqrt(len(q)) for k in other] for q in one]


def maps(qkv: Array, heads: int) -> Array:
    query, key, _ = cut(qkv, heads)
    return np.array([[scores(q, k) for q, k in zip(*sample, strict=True)] for sample in zip(query, key, strict=True)])


def settled(loss: AttentionLoss, *, student: int, teacher: int, heads: tuple[int, int]) -> AttentionLoss:
    torch.manual_seed(0)
    of = [{"blocks.0.attn": count} for count in heads]
    loss.prepare(Context(torch.zeros(4, dtype=torch.int64), 3, *of))
    loss.settle(
        {PATH: (2, L, 3 * student), "blocks.0": (2, L, student)},
        {PATH: (2, L, 3 * teacher), "blocks.0": (2, L, teacher)},
    )
    return loss


def value(loss: AttentionLoss, student: Tensor, teacher: Array) -> Tensor:
    theirs = torch.from_numpy(teacher).float()
    return loss(outputs({PATH: student}, B), outputs({PATH: theirs}, B), batch(B))


STUDENT, TEACHER = random(B, L, 3 * 8, seed=0), random(B, L, 3 * 12, seed=1)


@pytest.mark.parametrize("heads", [(2, 2), (4, 2), (1, 3)])
def test_maps_are_scaled_products_before_the_softmax_averaged_over_heads_that_differ(heads: tuple[int, int]) -> None:
    loss, student = settled(AttentionMaps(hidden=0.0), student=8, teacher=12, heads=heads), leaf(STUDENT)

    def by_hand(at: Array) -> float:
        mine, theirs = maps(at, heads[0]), maps(TEACHER, heads[1])
        if heads[0] != heads[1]:
            mine, theirs = mine.mean(axis=1), theirs.mean(axis=1)
        return float(((mine - theirs) ** 2).mean())

    found = value(loss, student, TEACHER)
    found.backward()

    assert found.item() == pytest.approx(by_hand(STUDENT), rel=1e-5)
    assert student.grad is not None
    assert_gradient(student.grad, by_hand, STUDENT)


def test_hidden_states_go_through_a_projector() -> None:
    loss = settled(AttentionMaps(hidden=0.5), student=8, teacher=12, heads=(2, 2))
    assert isinstance(loss, AttentionMaps)
    mine, theirs = random(B, L, 8, seed=2), random(B, L, 12, seed=3)
    projector = loss.projectors["0"]
    assert isinstance(projector, nn.Linear)
    weight, bias = (each.detach().double().numpy() for each in (projector.weight, projector.bias))
    alone = value(settled(AttentionMaps(hidden=0.0), student=8, teacher=12, heads=(2, 2)), leaf(STUDENT), TEACHER)

    found = loss(
        outputs({PATH: leaf(STUDENT), "blocks.0": leaf(mine)}, B),
        outputs({PATH: torch.from_numpy(TEACHER).float(), "blocks.0": torch.from_numpy(theirs).float()}, B),
        batch(B),
    )

    distance = float(((mine @ weight.T + bias - theirs) ** 2).mean())
    assert found.item() == pytest.approx(alone.item() + 0.5 * distance, rel=1e-5)
    assert loss.reads == ((PATH, PATH), ("blocks.0", "blocks.0"))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_relations_are_divergences_of_softmaxes_in_heads_cut_anew(count: int) -> None:
    loss, student = settled(MiniLM(relation_heads=count), student=8, teacher=12, heads=(2, 3)), leaf(STUDENT)

    def related(part: Array) -> Array:
        powers = np.exp(np.array(scores(part, part)))
        return powers / powers.sum(axis=1, keepdims=True)

    def by_hand(at: Array) -> float:
        total = 0.0
        for mine, theirs in zip(cut(at, count), cut(TEACHER, count), strict=True):
            for sample, other in zip(mine, theirs, strict=True):
                for head, its in zip(sample, other, strict=True):
                    q, p = related(head), related(its)
                    total += float((p * np.log(p / q)).sum()) / (B * count * L)
        return total

    found = value(loss, student, TEACHER)
    found.backward()

    assert found.item() == pytest.approx(by_hand(STUDENT), rel=1e-4)
    assert student.grad is not None
    assert_gradient(student.grad, by_hand, STUDENT)


@pytest.mark.parametrize(("widths", "heads"), [((192, 192), 24), ((384, 768), 48), ((8, 12), 1), ((40, 64), 4)])
def test_relation_heads_divide_both_widths_and_leave_eight_numbers(widths: tuple[int, int], heads: int) -> None:
    loss = MiniLM()

    loss.build([((2, L, 3 * widths[0]), (2, L, 3 * widths[1]))])

    assert loss.counts == (heads,)


def test_relation_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ModelError, match="5 relation heads do not divide the widths 8 and 12"):
        settled(MiniLM(relation_heads=5), student=8, teacher=12, heads=(2, 2))


@pytest.mark.parametrize("loss", [AttentionMaps(hidden=0.0), MiniLM()], ids=lambda each: type(each).__name__)
def test_a_student_that_attends_like_its_teacher_has_nothing_to_learn(loss: AttentionLoss) -> None:
    settled(loss, student=8, teacher=8, heads=(2, 2))
    student = leaf(STUDENT)

    found = value(loss, student, STUDENT)
    found.backward()

    assert found.item() == pytest.approx(0.0, abs=1e-6)
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6


def test_values_do_not_change_maps() -> None:
    loss = settled(AttentionMaps(hidden=0.0), student=8, teacher=12, heads=(2, 2))
    moved = STUDENT.copy()
    moved[..., 16:] += 1

    assert value(loss, leaf(moved), TEACHER).item() == value(loss, leaf(STUDENT), TEACHER).item()


@pytest.mark.parametrize(
    ("mine", "theirs", "chosen"), [(4, 12, [2, 5, 8, 11]), (3, 3, [0, 1, 2]), (6, 3, [0, 0, 1, 1, 2, 2]), (1, 5, [4])]
)
def test_blocks_are_spread_evenly_over_those_of_the_teacher(mine: int, theirs: int, chosen: list[int]) -> None:
    pairs, why = AttentionMaps().match([f"s{i}" for i in range(mine)], [f"t{i}" for i in range(theirs)])

    assert [path for _, path in pairs] == [f"t{i}" for i in chosen]
    assert [path for path, _ in pairs] == [f"s{i}" for i in range(mine)]
    assert pairs[-1][1] == f"t{theirs - 1}"
    assert "spread evenly" in why


def test_another_number_of_tokens_is_refused() -> None:
    loss = MiniLM()
    loss.prepare(Context(torch.zeros(2), 3, {"attn": 2}, {"attn": 2}))

    with pytest.raises(ModelError, match="the student attends among 5 tokens, the teacher among 17"):
        loss.settle({"attn.qkv": (2, 5, 24)}, {"attn.qkv": (2, 17, 24)})


def test_a_module_that_gives_no_q_k_and_v_is_refused() -> None:
    loss = MiniLM(pairs=[["a", "b"]])

    with pytest.raises(ModelError, match="'b' gives 17×25, which is no Q, K and V"):
        loss.settle({"a": (2, 17, 24)}, {"b": (2, 17, 25)})


class Crossed(nn.Module):
    """Attends from one sequence to another."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        given: Tensor = self.attention(tokens, tokens.flip(1), tokens.flip(1), need_weights=False)[0]
        return given


@pytest.mark.parametrize("loss", [AttentionMaps, MiniLM])
def test_attention_between_two_sequences_is_refused_with_what_can_be_read(loss: type[AttentionLoss]) -> None:
    network = Crossed()
    made = loss()  # type: ignore[call-arg]
    made.prepare(Context(torch.zeros(2), 3, attention_heads(network), attention_heads(network)))
    shapes = feature_shapes(network, torch.zeros(2, 5, 8))

    with pytest.raises(ModelError, match="no attention layer of the student can be read") as told:
        made.settle(shapes, shapes)

    assert "timm's blocks.N.attn.qkv" in (told.value.hint or "")


@pytest.mark.parametrize("option", [{"hidden": -1.0}])
def test_a_negative_weight_is_refused(option: dict[str, float]) -> None:
    with pytest.raises(InputError, match="hidden = -1"):
        AttentionMaps(**option)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="relation_heads = -2"):
        MiniLM(relation_heads=-2)


def test_the_block_around_a_layer_is_the_innermost_numbered_one() -> None:
    assert block_of("blocks.3.attn.qkv") == "blocks.3"
    assert block_of("stages.1.blocks.0.attn.qkv") == "stages.1.blocks.0"
    assert block_of("attn.qkv") is None


def transformer(*, depth: int, width: int, heads: int) -> nn.Module:
    network: nn.Module = timm.create_model(
        "deit_tiny_patch16_224", img_size=32, patch_size=8, depth=depth, embed_dim=width, num_heads=heads, num_classes=3
    )
    return network.eval()


def test_the_maps_of_timms_transformers_are_those_it_attends_with() -> None:
    """What is calculated from `qkv` is what unfused attention multiplies V with, before its softmax."""
    network = transformer(depth=1, width=24, heads=3)
    attention = network.blocks[0].attn  # type: ignore[index, union-attr]
    attention.fused_attn = False
    seen: list[Tensor] = []
    attention.attn_drop.register_forward_hook(lambda _module, _inputs, output: seen.append(output))

    with torch.no_grad(), tapped(network, [PATH]) as features:
        network(torch.randn(2, 3, 32, 32))

    query, key = (torch.tensor(np.array(cut(features[PATH].double().numpy(), 3)[part])) for part in (0, 1))
    softmax = (query @ key.transpose(-2, -1) / 8**0.5).softmax(-1)
    assert torch.allclose(softmax.float(), seen[0], atol=1e-6)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_the_maps_of_torchs_own_attention_are_those_it_attends_with(batch_first: bool, bias: bool) -> None:
    attention = nn.MultiheadAttention(24, 3, bias=bias, batch_first=batch_first)
    tokens_BLD = torch.randn(2, 5, 24)
    given = tokens_BLD if batch_first else tokens_BLD.transpose(0, 1)

    with torch.no_grad(), tapped(nn.ModuleDict({"attn": attention}), ["attn.qkv"]) as features:
        _, seen = attention(given, given, value=given, average_attn_weights=False)

    query, key, _ = split(features["attn.qkv"], 3)
    torch.testing.assert_close(products(query, key).softmax(-1), seen)


def test_torchs_own_transformer_shows_what_it_attends_with_though_it_has_a_shorter_way() -> None:
    """In evaluation mode without gradients `nn.TransformerEncoderLayer` goes past its attention unless somebody listens."""
    network = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    shapes = feature_shapes(network, torch.zeros(2, 5, 8))

    assert shapes["layers.1.self_attn.qkv"] == (2, 5, 24)
    assert attention_heads(network)["layers.1.self_attn"] == 2
    with torch.inference_mode(), tapped(network, ["layers.1.self_attn.qkv"]) as features:
        network(torch.randn(2, 5, 8))
    assert features["layers.1.self_attn.qkv"].shape == (2, 5, 24)


def torchs(*, depth: int, width: int, heads: int) -> nn.Module:
    return torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=depth, num_heads=heads, hidden_dim=width, mlp_dim=width, num_classes=3
    )


@pytest.mark.parametrize("loss", [AttentionMaps(), MiniLM()], ids=["attention_maps", "minilm"])
def test_torchvisions_transformer_learns_from_timms(loss: AttentionLoss) -> None:
    torch.manual_seed(0)
    student, teacher = torchs(depth=2, width=16, heads=2), transformer(depth=4, width=24, heads=3)
    inputs = torch.randn(4, 3, 32, 32)
    loss.prepare(Context(torch.zeros(4), 3, attention_heads(student), attention_heads(teacher)))
    loss.settle(feature_shapes(student, inputs[:2]), feature_shapes(teacher, inputs[:2]))
    with torch.no_grad(), tapped(teacher, [path for _, path in loss.reads]) as theirs:
        teacher(inputs)
    with tapped(student, [path for path, _ in loss.reads]) as mine:
        logits = student(inputs)
    loss(Outputs.of(logits, dict(mine)), Outputs.of(logits, dict(theirs)), batch(4)).backward()

    last = "encoder.layers.encoder_layer_1.self_attention"
    assert loss.pairs[-1] == (f"{last}.qkv", "blocks.3.attn.qkv")
    assert student.get_submodule(last).in_proj_weight.grad.abs().sum() > 0  # type: ignore[union-attr, operator]


@pytest.mark.parametrize(
    ("loss", "last"),
    [
        (AttentionMaps(), ("blocks.1.attn.qkv", "blocks.3.attn.qkv")),
        (MiniLM(), ("blocks.1.attn.qkv", "blocks.3.attn.qkv")),
    ],
    ids=["attention_maps", "minilm"],
)
def test_a_small_transformer_learns_to_attend_like_a_larger_one(loss: AttentionLoss, last: tuple[str, str]) -> None:
    torch.manual_seed(0)
    student, teacher = transformer(depth=2, width=16, heads=2), transformer(depth=4, width=24, heads=3)
    inputs = torch.randn(4, 3, 32, 32)
    loss.prepare(Context(torch.zeros(4), 3, attention_heads(student), attention_heads(teacher)))
    told = loss.settle(feature_shapes(student, inputs[:2]), feature_shapes(teacher, inputs[:2]))
    with torch.no_grad(), tapped(teacher, [path for _, path in loss.reads]) as theirs:
        teacher(inputs)
    optimizer = torch.optim.Adam([*student.parameters(), *loss.parameters()], lr=3e-3)
    values = []
    for _ in range(20):
        with tapped(student, [path for path, _ in loss.reads]) as mine:
            logits = student(inputs)
        found = loss(Outputs.of(logits, dict(mine)), Outputs.of(logits, dict(theirs)), batch(4))
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        values.append(found.item())

    assert loss.pairs[-1] == last
    assert f"{last[0]} 17×48 ← {last[1]} 17×72" in told
    assert values[-1] < 0.6 * values[0]

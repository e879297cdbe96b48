"""Losses on attention with queries, keys and values in three layers, and with padded tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from compressor.losses._contract import Context
from compressor.losses.attention_maps import AttentionMaps
from compressor.losses.minilm import MiniLM
from compressor.models.taps import attention_heads, feature_shapes, tapped
from compressor.tasks.classification import Classification
from compressor.tensors import Batch, Outputs


class SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_attention_heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.query(x) + self.key(x) + self.value(x)


class Tower(nn.Module):
    """Layers of attention in BERT's form; a token sees itself alone, so that padding changes no other token."""

    def __init__(self, width: int, layers: int, heads: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(20, width)
        self.layer = nn.ModuleList(SelfAttention(width, heads) for _ in range(layers))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.words(input_ids)
        for layer in self.layer:
            x = layer(x)
        return x.mean(1)


def padded(length: int) -> dict[str, Tensor]:
    """Two texts of 3 and 4 tokens, padded with a token that means something else."""
    ids = torch.full((2, length), 7)
    ids[0, :3], ids[1, :4] = torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6, 1])
    mask = torch.zeros(2, length, dtype=torch.int64)
    mask[0, :3] = mask[1, :4] = 1
    return {"input_ids": ids, "attention_mask": mask}


class Named(nn.Module):
    """What `Network` does: inputs by name."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.module(**inputs)


def outputs_of(network: nn.Module, inputs: dict[str, Tensor], paths: list[str]) -> Outputs:
    with tapped(network, paths) as features:
        logits = network(**inputs)
    return Outputs.of(logits, dict(features))


def loss_at(loss: MiniLM | AttentionMaps, student: Tower, teacher: Tower, length: int) -> Tensor:
    inputs = padded(length)
    batch = Batch(inputs, {}, torch.ones(2, dtype=torch.bool), torch.arange(2), -1, Classification())
    mine, theirs = ([pair[side] for pair in loss.reads] for side in (0, 1))
    return loss(outputs_of(student, inputs, mine), outputs_of(teacher, inputs, theirs), batch).detach()


def settled(loss: MiniLM | AttentionMaps, student: Tower, teacher: Tower) -> None:
    shapes = []
    for tower in (student, teacher):
        found = feature_shapes(Named(tower), padded(4))
        shapes.append({path.removeprefix("module."): shape for path, shape in found.items()})
    loss.prepare(Context(torch.zeros(2), 2, attention_heads(student), attention_heads(teacher)))
    loss.settle(*shapes)


@pytest.mark.parametrize("kind", [MiniLM, AttentionMaps])
def test_padding_weighs_nothing(kind: type[MiniLM] | type[AttentionMaps]) -> None:
    torch.manual_seed(0)
    student, teacher = Tower(16, 2), Tower(32, 4)
    loss = kind()
    settled(loss, student, teacher)

    short, long = loss_at(loss, student, teacher, 4), loss_at(loss, student, teacher, 9)

    assert float(short) > 0
    assert float(long) == pytest.approx(float(short), rel=1e-5)
    assert loss.pairs[-1] == ("layer.1.qkv", "layer.3.qkv")


def test_without_padding_the_loss_is_the_one_without_a_mask() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 5, 24), torch.randn(2, 5, 48)
    loss = MiniLM()
    loss.build([((2, 5, 24), (2, 5, 48))])

    plain = loss.compare(0, student, teacher)
    masked = loss.compare_tokens(0, student, teacher, there_BL=torch.ones(2, 5, dtype=torch.bool))

    assert float(masked) == pytest.approx(float(plain), rel=1e-5)


def test_a_student_that_is_its_teacher_loses_nothing_whatever_is_padded() -> None:
    torch.manual_seed(0)
    teacher = Tower(16, 2)
    loss = MiniLM()
    settled(loss, teacher, teacher)

    assert float(loss_at(loss, teacher, teacher, 9)) == pytest.approx(0.0, abs=1e-6)


def test_attention_to_another_sequence_is_not_read() -> None:
    class Cross(SelfAttention):
        def forward(self, x: Tensor) -> Tensor:
            return self.query(x) + self.key(x * 2) + self.value(x * 2)

    network = nn.Sequential(Cross(8, 2))

    assert "0.qkv" not in feature_shapes(network, torch.randn(2, 3, 8))

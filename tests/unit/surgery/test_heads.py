"""Attentions with separate layers for queries, keys and values (BERT's kind) are cut by whole heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compressor.surgery.cut import Group, Prunable
from compressor.surgery.record import Surgery

pytest.importorskip("transformers")

SIZE = 12  # channels of a head: no multiple that a rounding of widths would give by chance


class Texts(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModelForSequenceClassification

        sizes = {
            "bert": {
                "hidden_size": 4 * SIZE,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "intermediate_size": 40,
            },
            "distilbert": {"dim": 4 * SIZE, "n_layers": 2, "n_heads": 4, "hidden_dim": 40},
        }
        config = AutoConfig.for_model(kind, vocab_size=30, initializer_range=0.3, **sizes[kind])
        self.inner = AutoModelForSequenceClassification.from_config(config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        answer: Tensor = self.inner(input_ids=input_ids, attention_mask=attention_mask).logits
        return answer


class Pictures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        config = SegformerConfig(
            num_labels=3,
            hidden_sizes=[SIZE, 2 * SIZE, 2 * SIZE, 4 * SIZE],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 2, 2, 4],
            decoder_hidden_size=16,
            initializer_range=0.3,
        )
        self.inner = SegformerForSemanticSegmentation(config)

    def forward(self, pixels: Tensor) -> Tensor:
        answer: Tensor = self.inner(pixels).logits
        return answer


def network(kind: str) -> tuple[nn.Module, Tensor | dict[str, Tensor]]:
    torch.manual_seed(0)
    if kind == "segformer":
        return Pictures().eval(), torch.rand(2, 3, 64, 64)
    ids = torch.randint(0, 30, (2, 9))
    return Texts(kind).eval(), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def heads_of(prunable: Prunable) -> list[Group]:
    return [group for group in prunable.groups if group.heads]


def answer(module: nn.Module, example: Tensor | dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        found: Tensor = module(**example) if isinstance(example, dict) else module(example)
    return found


@pytest.mark.parametrize(("kind", "expected"), [("bert", [4, 4]), ("distilbert", [4, 4]), ("segformer", [2, 2, 4])])
def test_heads_are_found_with_their_size(kind: str, expected: list[int]) -> None:
    found = heads_of(Prunable(*network(kind)))

    assert [group.width for group in found] == expected
    assert {group.unit for group in found} == {SIZE}
    assert all(len(group.layers) == 3 for group in found)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "segformer"])
def test_a_cut_head_leaves_what_a_silent_one_leaves(kind: str) -> None:
    module, example = network(kind)
    prunable = Prunable(module, example)
    group = heads_of(prunable)[-1]

    pruned = prunable.cut({group.name: np.array([0, *range(2, group.width)])})

    with torch.no_grad():
        dict(module.named_modules())[group.projection].weight[:, SIZE : 2 * SIZE] = 0
    torch.testing.assert_close(answer(pruned, example), answer(module, example), rtol=1e-4, atol=1e-5)
    assert {dict(pruned.named_modules())[path].out_features for path in group.layers} == {(group.width - 1) * SIZE}


@pytest.mark.parametrize("kind", ["bert", "distilbert", "segformer"])
def test_a_network_without_some_of_its_heads_is_built_again_from_its_record(kind: str) -> None:
    module, example = network(kind)
    prunable = Prunable(module, example)
    pruned = prunable.cut({group.name: np.array([1]) for group in heads_of(prunable)})

    record = Surgery.from_json(Surgery.between(module, pruned).as_json())
    again, _ = network(kind)
    record.apply(again)
    again.load_state_dict(pruned.state_dict())

    torch.testing.assert_close(answer(again, example), answer(pruned, example), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "segformer"])
def test_heads_and_widths_are_cut_together(kind: str) -> None:
    module, example = network(kind)
    prunable = Prunable(module, example)

    pruned = prunable.cut({group.name: np.arange(max(1, group.width // 2)) for group in prunable.groups})

    assert sum(each.numel() for each in pruned.parameters()) < 0.6 * sum(each.numel() for each in module.parameters())
    assert answer(pruned, example).shape == answer(module, example).shape

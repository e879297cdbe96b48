"""Texts differ in length: what a loss makes of a sample must not hang on how far its batch was padded."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from compressor import registry
from compressor.errors import ModelError
from compressor.losses._attention import AttentionLoss
from compressor.losses._contract import Context, Prepared
from compressor.losses._features import FeatureLoss
from compressor.tasks.classification import Classification
from compressor.tensors import ATTENTION_MASK, LABEL, Batch, Outputs

B, L, D, K = 6, 7, 16, 3
LENGTHS = torch.tensor([7, 3, 5, 1, 6, 2])
REFUSING = {"review"}
ON_FEATURES = [
    member
    for member in registry.members("losses")
    if any(option.name == "pairs" for option in member.options) and member.name not in REFUSING
]


def on_tokens(member: registry.Member) -> FeatureLoss:
    """The loss between `block.0` of a student and `block.1` of a wider teacher, as it begins."""
    torch.manual_seed(0)
    loss = member.load()()
    assert isinstance(loss, FeatureLoss)
    if isinstance(loss, Prepared):
        loss.prepare(Context(torch.arange(B) % K, K, {"blocks.0.attn": 2}, {"blocks.1.attn": 2}, padded=True))
    width = 3 * D if isinstance(loss, AttentionLoss) else D
    end = ".attn.qkv" if isinstance(loss, AttentionLoss) else ""
    loss.settle({f"blocks.0{end}": (2, L, width)}, {f"blocks.1{end}": (2, L, 2 * width)})
    return loss


def value(loss: FeatureLoss, *, padding: int, junk: float) -> tuple[Tensor, Tensor]:
    """The loss of the same texts with `padding` tokens more, in which features are `junk`; and the student's gradients."""
    (pair,) = loss.pairs
    there_BL = torch.arange(L + padding) < LENGTHS[:, None]
    features = []
    for seed in range(2):
        width = (seed + 1) * (3 * D if isinstance(loss, AttentionLoss) else D)
        drawn = torch.randn(B, L, width, generator=torch.Generator().manual_seed(seed))
        longer = torch.nn.functional.pad(drawn, (0, 0, 0, padding))
        features.append(longer.masked_fill(~there_BL[..., None], junk).requires_grad_(seed == 0))
    inputs = {"input_ids": torch.zeros(B, L + padding, dtype=torch.int64), ATTENTION_MASK: there_BL.long()}
    labels = torch.arange(B) % K
    batch = Batch(inputs, {LABEL: labels}, torch.ones(B, dtype=torch.bool), torch.arange(B), -1, Classification())
    logits = torch.zeros(B, K)
    torch.manual_seed(1)
    found = loss(Outputs.of(logits, {pair[0]: features[0]}), Outputs.of(logits, {pair[1]: features[1]}), batch)
    (gradient,) = torch.autograd.grad(found, features[0])
    return found.detach(), gradient


@pytest.mark.parametrize("member", ON_FEATURES, ids=lambda member: member.name)
def test_padding_changes_no_loss_on_features(member: registry.Member) -> None:
    as_it_is, _ = value(on_tokens(member), padding=0, junk=0.5)
    further, gradient = value(on_tokens(member), padding=4, junk=-30.0)

    assert math.isfinite(as_it_is)
    torch.testing.assert_close(further, as_it_is, rtol=1e-5, atol=1e-7)
    assert gradient[torch.arange(L + 4) >= LENGTHS[:, None]].abs().max() == 0


@pytest.mark.parametrize("member", ON_FEATURES, ids=lambda member: member.name)
def test_tokens_that_are_there_change_it(member: registry.Member) -> None:
    _, gradient = value(on_tokens(member), padding=0, junk=0.5)

    assert gradient[torch.arange(L) < LENGTHS[:, None]].abs().max() > 0


def test_a_loss_that_blends_neighbors_says_that_padding_would_count() -> None:
    with pytest.raises(ModelError, match="padding would count"):
        on_tokens(registry.find("losses", "review"))

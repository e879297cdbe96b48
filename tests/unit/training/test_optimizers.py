"""Optimisers: groups, and what `auto` means."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.errors import InputError
from compressor.recipe import TrainingSettings
from compressor.training import optimizers


def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_norms_and_biases_do_not_decay():
    made, _ = optimizers.make(TrainingSettings(weight_decay=0.1), [network()], lr=0.1)
    decays = {
        parameter.dim() > 1: group["weight_decay"] for group in made.param_groups for parameter in group["params"]
    }
    assert decays == {True: 0.1, False: 0.0}


def test_every_trainable_parameter_is_in_exactly_one_group():
    net = network()
    net[0].bias.requires_grad_(False)
    made, _ = optimizers.make(TrainingSettings(), [net], lr=0.1)
    grouped = [id(parameter) for group in made.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in net.parameters() if p.requires_grad)


def test_auto_learning_rate_scales_with_the_batch_and_says_so():
    lr, (decision,) = optimizers.peak_lr(TrainingSettings(optimizer="sgd", batch_size=256))
    assert lr == pytest.approx(0.2)
    assert decision.what == "lr"
    assert "batch 256" in decision.reason


def test_a_stated_learning_rate_is_taken_without_a_word():
    assert optimizers.peak_lr(TrainingSettings(lr=0.3)) == (0.3, ())


def test_sgd_is_nesterov_only_with_momentum():
    made, _ = optimizers.make(TrainingSettings(optimizer="sgd", momentum=0.0), [network()], lr=0.1)
    assert isinstance(made, torch.optim.SGD)
    assert made.defaults["nesterov"] is False


def test_set_lr_reaches_every_group():
    made, _ = optimizers.make(TrainingSettings(), [network()], lr=0.1)
    optimizers.set_lr(made, 0.02)
    assert [group["lr"] for group in made.param_groups] == [0.02, 0.02]


class Reader(nn.Module):
    """Embedded tokens, two blocks, a head."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.layer = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.head = nn.Linear(4, 2)


def test_embeddings_do_not_decay():
    reader = Reader()
    optimizer, _ = optimizers.make(TrainingSettings(), [reader], lr=0.1)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay[id(reader.words.weight)] == 0
    assert decay[id(reader.head.weight)] > 0


def test_with_layer_decay_the_rate_falls_from_the_head_to_the_embeddings():
    reader = Reader()
    optimizer, decisions = optimizers.make(TrainingSettings(layer_decay=0.5), [reader], lr=0.1)
    optimizers.set_lr(optimizer, 0.8)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    parts = (reader.head.weight, reader.layer[1].weight, reader.layer[0].bias, reader.words.weight)
    assert [rates[id(p)] for p in parts] == pytest.approx([0.8, 0.4, 0.2, 0.1])
    assert decisions[-1].what == "rates of layers"


def test_layer_decay_needs_blocks():
    with pytest.raises(InputError, match="has no list of blocks"):
        optimizers.make(TrainingSettings(layer_decay=0.5), [network()], lr=0.1)

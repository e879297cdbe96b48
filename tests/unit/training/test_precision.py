"""Device, precision and layout of a run."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from compressor.errors import InputError
from compressor.recipe import TrainingSettings
from compressor.training import precision

CONVOLUTION = nn.Conv2d(3, 4, 3)


def test_every_auto_choice_has_a_reason():
    chosen = precision.choose(TrainingSettings(), CONVOLUTION, sample_shape=(3, 32, 32))
    assert {decision.what for decision in chosen.decisions} == {"device", "precision", "channels_last"}
    assert all(decision.reason for decision in chosen.decisions)


def test_stated_choices_are_taken_as_they_are():
    settings = TrainingSettings(device="cpu", precision="32", channels_last=False)
    chosen = precision.choose(settings, CONVOLUTION, sample_shape=(3, 32, 32))
    assert (chosen.accelerator, chosen.precision, chosen.decisions) == ("cpu", "32-true", ())
    assert chosen.memory_format is torch.contiguous_format


def test_tiny_images_are_not_worth_bfloat16():
    chosen = precision.choose(TrainingSettings(device="cpu"), CONVOLUTION, sample_shape=(1, 8, 8))
    assert chosen.precision == "32-true"


@pytest.fixture(params=["AMX", "AVX-512 BF16"])
def bf16_unit(request, monkeypatch):
    """A CPU that multiplies bfloat16, whichever runs this."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: request.param == "AMX")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    return request.param


def test_convolutions_on_pictures_take_bfloat16_where_the_cpu_has_it(bf16_unit):
    chosen = precision.choose(TrainingSettings(device="cpu"), CONVOLUTION, sample_shape=(3, 32, 32))
    assert chosen.precision == "bf16-mixed"
    assert f"({bf16_unit})" in " ".join(decision.reason for decision in chosen.decisions)


def test_numbers_are_not_rounded_to_three_digits(bf16_unit):
    chosen = precision.choose(TrainingSettings(device="cpu"), CONVOLUTION, sample_shape=(3, 32, 32), of_numbers=True)
    assert chosen.precision == "32-true"
    assert "answers are numbers" in " ".join(decision.reason for decision in chosen.decisions)


def test_depthwise_convolutions_stay_in_single_precision(bf16_unit):
    network = nn.Sequential(CONVOLUTION, nn.Conv2d(4, 4, 3, groups=4))
    chosen = precision.choose(TrainingSettings(device="cpu"), network, sample_shape=(3, 32, 32))
    assert chosen.precision == "32-true"
    assert "depthwise" in " ".join(decision.reason for decision in chosen.decisions)


def test_a_cpu_without_bfloat16_computes_in_single_precision(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    chosen = precision.choose(TrainingSettings(device="cpu"), CONVOLUTION, sample_shape=(3, 32, 32))
    assert chosen.precision == "32-true"


def test_vectors_have_no_channels_last():
    chosen = precision.choose(TrainingSettings(device="cpu"), nn.Linear(4, 2), sample_shape=(4,))
    assert chosen.memory_format is torch.contiguous_format


def test_a_missing_device_is_refused_by_name():
    with pytest.raises(InputError, match="no device 'cuda:7' here"):
        precision.choose(TrainingSettings(device="cuda:7"), CONVOLUTION, sample_shape=(3, 32, 32))


def test_half_precision_on_the_cpu_is_refused():
    with pytest.raises(InputError, match="precision 16 needs a GPU"):
        precision.choose(TrainingSettings(device="cpu", precision="16"), CONVOLUTION, sample_shape=(3, 32, 32))


class Viewing(nn.Sequential):
    """Flattens as much user code does, which only the usual layout allows."""

    def forward(self, inputs):
        features = super().forward(inputs)
        return features.view(features.size(0), -1)


def test_a_network_that_needs_the_usual_layout_keeps_it():
    network = Viewing(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    chosen = precision.choose(TrainingSettings(device="cpu"), network, sample_shape=(3, 32, 32))
    assert chosen.memory_format is torch.contiguous_format
    (why,) = [each.reason for each in chosen.decisions if each.what == "channels_last"]
    assert why.startswith("the network does not run with channels last: view size is not compatible")
    assert network.training
    assert network[0].weight.is_contiguous()
    assert int(network[1].num_batches_tracked) == 0


def test_a_teacher_that_needs_the_usual_layout_is_thought_of():
    settings = TrainingSettings(device="cpu")
    chosen = precision.choose(settings, CONVOLUTION, sample_shape=(3, 32, 32), teacher=Viewing(nn.Conv2d(3, 4, 3)))
    assert chosen.memory_format is torch.contiguous_format
    assert "the teacher does not run with channels last" in " ".join(each.reason for each in chosen.decisions)


@pytest.mark.parametrize("channels", [1, 3, 15])
def test_a_strided_1x1_convolution_on_few_channels_is_trained_in_the_usual_layout(channels):
    network = nn.Sequential(nn.Conv2d(channels, 48, 1, stride=2), nn.ReLU())
    chosen = precision.choose(TrainingSettings(device="cpu"), network, sample_shape=(channels, 224, 224))
    assert chosen.memory_format is torch.contiguous_format
    (why,) = [each.reason for each in chosen.decisions if each.what == "channels_last"]
    assert f"the backward pass of 0, a strided 1 x 1 convolution on {channels} channels" in why


def test_channels_last_is_refused_in_words_where_pytorch_would_crash():
    settings = TrainingSettings(device="cpu", channels_last=True)
    with pytest.raises(InputError, match="PyTorch would crash in training") as told:
        precision.choose(settings, nn.Conv2d(3, 48, 1, stride=2), sample_shape=(3, 224, 224))
    assert (told.value.where, told.value.hint) == ("channels_last", 'write channels_last = "auto" or false')


@pytest.mark.parametrize(
    "sound",
    [
        nn.Conv2d(16, 32, 1, stride=2),
        nn.Conv2d(3, 48, 1),
        nn.Conv2d(3, 48, 3, stride=2),
        nn.Conv2d(12, 48, 1, stride=2, groups=4),
        nn.Conv2d(3, 48, 1, stride=2).requires_grad_(False),
    ],
)
def test_other_convolutions_keep_channels_last(sound):
    channels = sound.in_channels
    chosen = precision.choose(TrainingSettings(device="cpu"), sound, sample_shape=(channels, 32, 32))
    assert chosen.memory_format is torch.channels_last


def test_a_frozen_teacher_with_such_a_layer_changes_nothing():
    teacher = nn.Conv2d(3, 48, 1, stride=2).requires_grad_(False)
    settings = TrainingSettings(device="cpu")
    chosen = precision.choose(settings, CONVOLUTION, sample_shape=(3, 32, 32), teacher=teacher)
    assert chosen.memory_format is torch.channels_last


def test_a_network_that_crashed_in_training_takes_whole_steps():
    """In a process of its own: what it met was the end of the process, not a fault."""
    script = """
import torch
from compressor.recipe import TrainingSettings
from compressor.training import precision

network, shape = torch.nn.Conv2d(3, 48, 1, stride=2), (3, 224, 224)
layout = precision.choose(TrainingSettings(device="cpu"), network, sample_shape=shape).memory_format
network.to(memory_format=layout)
for _ in range(20):
    network(torch.zeros(8, *shape).contiguous(memory_format=layout)).sum().backward()
print(layout)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "torch.contiguous_format"), done.stderr

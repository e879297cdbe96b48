"""ESPNet: the authors' size, strides, and images of any size."""

from __future__ import annotations

import pytest
import torch

from compressor.models import load


def network(**options):
    return load.load("zoo:espnet", num_classes=20, sample_shape=(3, 32, 48), options=options).network


def test_it_has_about_as_many_parameters_as_the_paper_says():
    assert sum(each.numel() for each in network().parameters()) == pytest.approx(0.36e6, rel=0.1)  # table 1: 0.364 M


@pytest.mark.parametrize(("decoder", "stride"), [(True, 2), (False, 8)])
def test_logits_are_at_a_stride_and_brought_to_the_size_of_the_image(decoder, stride):
    made = network(decoder=decoder, width=0.5, level3=2).eval()
    images = torch.rand(2, 3, 32, 48)

    assert made.module(images).shape == (2, 20, 32 // stride, 48 // stride)
    assert made(images).shape == (2, 20, 32, 48)


def test_it_takes_images_whose_sides_are_no_multiple_of_its_stride():
    assert network(width=0.5, level3=1).eval()(torch.rand(1, 3, 37, 51)).shape == (1, 20, 37, 51)

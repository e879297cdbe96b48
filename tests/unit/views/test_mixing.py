"""mixup and CutMix: partner and share belong to the view."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from compressor.data.loader import Loader
from compressor.tasks.classification import Classification
from compressor.tensors import Outputs
from compressor.views._beta import beta
from compressor.views._compose import mix
from compressor.views._stream import Draw
from compressor.views.cutmix import CutMix
from compressor.views.mixup import Mixup
from tests.named import class_samples, hard_loss, mixed_with, named_batch, seen, views_of


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_beta_distributed(alpha):
    shares = beta(Draw(torch.arange(200_000), 0, 0).uniform("x"), alpha=alpha)
    assert shares.mean() == pytest.approx(0.5, abs=0.005)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)  # of Beta(α, α)


def test_partners_are_spread_over_the_whole_set():
    partners = views_of(mixup=1.0).partners(np.arange(10_000), view=0, seed=0, num_samples=100)
    assert set(partners.tolist()) == set(range(100))
    assert np.bincount(partners).std() < 15


def test_mixup_is_the_weighted_sum():
    own, partner = torch.ones(500, 3, 4, 4), torch.zeros(500, 3, 4, 4)
    mixed, share = mix((Mixup(alpha=1.0),), own, partner, Draw(torch.arange(500), 0, 0))
    assert torch.allclose(mixed, share[:, None, None, None].expand_as(mixed))
    assert 0.4 < share.mean() < 0.6


def test_the_share_of_cutmix_is_that_of_the_pixels():
    own, partner = torch.ones(500, 3, 17, 11), torch.zeros(500, 3, 17, 11)
    mixed, share = mix((CutMix(alpha=1.0),), own, partner, Draw(torch.arange(500), 0, 0))
    assert set(mixed.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(mixed.mean(dim=(1, 2, 3)), share, atol=1e-6)


def test_with_both_on_half_of_the_views_have_each():
    own, partner = torch.ones(4000, 1, 8, 8), torch.zeros(4000, 1, 8, 8)
    mixed, _ = mix((CutMix(alpha=1.0), Mixup(alpha=1.0)), own, partner, Draw(torch.arange(4000), 0, 0))
    cut = ((mixed == 0) | (mixed == 1)).flatten(1).all(1).float().mean()
    assert cut == pytest.approx(0.5, abs=0.03)


def test_the_loader_brings_each_sample_its_partner():
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
    samples, views = class_samples(images, np.arange(40) % 4), views_of(crop=1, mixup=1.0)

    def partners(positions, epoch):
        return views.partners(positions, view=epoch, seed=3, num_samples=40)

    loader = Loader(samples, batch_size=10, seed=0, shuffle=True, drop_last=True, partners=partners)
    for loaded in loader.batches(1):
        expected = views.partners(loaded.sample_ids.numpy(), view=1, seed=3, num_samples=40)
        assert loaded.partners.sample_ids.tolist() == expected.tolist()
        assert torch.equal(loaded.partners.inputs["image"], torch.from_numpy(images[expected]))
        shown, mixed = views.show(loaded, view=1, seed=3)
        own = seen(views, loaded.inputs["image"], loaded.sample_ids, view=1, seed=3).float() / 255
        other = seen(views, loaded.partners.inputs["image"], loaded.partners.sample_ids, view=1, seed=3).float() / 255
        share = mixed.share[:, None, None, None]
        assert torch.allclose(shown["image"], share * own + (1 - share) * other, atol=1e-6)
        assert torch.equal(mixed.targets["label"], loaded.partners.targets["label"])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_a_mixed_batch_is_that_of_mixed_labels(smoothing):
    generator = torch.Generator().manual_seed(0)
    logits, labels, others = torch.randn(6, 4, generator=generator), torch.arange(6) % 4, torch.arange(6).flip(0) % 4
    share = torch.tensor([0.0, 0.1, 0.5, 0.7, 0.9, 1.0])
    task = Classification(label_smoothing=smoothing)
    batch = named_batch(torch.zeros(6, 2), labels, torch.arange(6), 0, task, mixed_with(others, share))
    soft = share[:, None] * F.one_hot(labels, 4) + (1 - share[:, None]) * F.one_hot(others, 4)
    expected = F.cross_entropy(logits, soft, label_smoothing=smoothing)
    assert torch.allclose(batch.hard_loss(Outputs.of(logits)), expected, atol=1e-6)


def test_the_loss_of_an_unmixed_batch_is_the_tasks():
    logits, labels, task = torch.randn(6, 4), torch.arange(6) % 4, Classification()
    batch = named_batch(torch.zeros(6, 2), labels, torch.arange(6), 0, task)
    assert torch.equal(batch.hard_loss(Outputs.of(logits)), hard_loss(task, logits, labels))
